// Package behaviour is the contract of a plugin with its host, as wit/ writes it
// down: what the host lends, and the method that it calls. What each function
// does stands there.
//
// It is the canonical ABI of components by hand: a text is a pointer and a
// length, and what does not fit into one number is written where the last
// argument points to.
package behaviour

import (
	"encoding/json"
	"errors"
	"math"
	"time"
	"unsafe"
)

// Handler answers one direct method. `payload` is whatever JSON the caller sent.
// To refuse is to return a Refusal; any other error is one of kind Failed.
type Handler func(name string, payload json.RawMessage) (Response, error)

var handler Handler

// Handle says what answers the direct methods. It is to be called from the init
// of the main package, since main never runs.
func Handle(answers Handler) {
	handler = answers
}

// Response is what a method answers.
type Response struct {
	// Status goes to the caller unchanged; it is HTTP-like, from 100 to 599.
	Status uint16
	// Payload reaches the caller as null where it is nil.
	Payload json.RawMessage
}

// Answer is a response with a value as its payload.
func Answer(status uint16, value any) (Response, error) {
	payload, err := json.Marshal(value)
	return Response{Status: status, Payload: payload}, err
}

// Refusal is an error that the host turns into a status and a JSON body.
type Refusal struct {
	Kind RefusalKind
	// Text is what is wrong; UnknownMethod and Busy have none.
	Text string
	// RetryAfter goes with Busy; zero leaves it open.
	RetryAfter time.Duration
}

// RefusalKind decides about the status.
type RefusalKind uint8

const (
	// InvalidPayload is 400: JSON, but not what this method takes.
	InvalidPayload RefusalKind = iota
	// UnknownMethod is 404: routed here, but not served.
	UnknownMethod
	// Busy is 429: not now.
	Busy
	// Failed is 500: tried, and it did not work.
	Failed
	// Unclassified is 500: anything else.
	Unclassified
)

func (refusal Refusal) Error() string {
	switch refusal.Kind {
	case UnknownMethod:
		return "unknown method"
	case Busy:
		return "busy"
	default:
		return refusal.Text
	}
}

// Error says why a call to the host was not done. Whether it is of some kind is
// asked with errors.Is(err, behaviour.Offline).
type Error struct {
	Kind Kind
	Text string
	// RetryAfter goes with Throttled; zero where the hub has left it open.
	RetryAfter time.Duration
}

func (err Error) Error() string { return err.Kind.Error() + textAfterColon(err.Text) }

func (err Error) Unwrap() error { return err.Kind }

func textAfterColon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// Kind is the kind of an Error.
type Kind uint8

const (
	Denied Kind = iota
	Invalid
	TooLarge
	QuotaExceeded
	Offline
	Timeout
	Throttled
	Other
)

func (kind Kind) Error() string {
	return [...]string{
		"denied", "invalid", "too large", "quota exceeded", "the device is offline",
		"the hub did not answer in time", "throttled by the hub", "not done",
	}[kind]
}

// Pair is a key and its value.
type Pair [2]string

// Context: facts about the call in progress.

//go:wasmimport device:behaviour/context@0.1.0 plugin-name
func contextPluginName(to *area)

//go:wasmimport device:behaviour/context@0.1.0 device-id
func contextDeviceID(to *area)

//go:wasmimport device:behaviour/context@0.1.0 call-id
func contextCallID(to *area)

//go:wasmimport device:behaviour/context@0.1.0 remaining-ms
func contextRemainingMs() uint32

//go:wasmimport device:behaviour/context@0.1.0 attempt
func contextAttempt() uint32

// PluginName is the plugin's name in the host's configuration.
func PluginName() string { return textFrom(contextPluginName) }

// DeviceID is the device's id on the hub.
func DeviceID() string { return textFrom(contextDeviceID) }

// CallID is the same in every log line and answer of this call.
func CallID() string { return textFrom(contextCallID) }

// Remaining is the time until the host stops this call.
func Remaining() time.Duration { return time.Duration(contextRemainingMs()) * time.Millisecond }

// Attempt is 1 on the first try.
func Attempt() uint32 { return contextAttempt() }

// Clock: the host's time, which the author's tool can make virtual. The time
// that Go's own package tells is another one.

//go:wasmimport device:behaviour/clock@0.1.0 now-ms
func clockNowMs() uint64

//go:wasmimport device:behaviour/clock@0.1.0 now-rfc3339
func clockNowRFC3339(to *area)

//go:wasmimport device:behaviour/clock@0.1.0 sleep-ms
func clockSleepMs(duration uint32, to *area)

// Now is the host's time, UTC.
func Now() time.Time { return time.UnixMilli(int64(clockNowMs())).UTC() }

// NowRFC3339 is the same as text.
func NowRFC3339() string { return textFrom(clockNowRFC3339) }

// Sleep waits, to the millisecond, without holding a thread of the host.
func Sleep(duration time.Duration) error {
	var to area
	clockSleepMs(milliseconds(duration), &to)
	return to.err(1)
}

// Log.

//go:wasmimport device:behaviour/log@0.1.0 write
func logWrite(level uint32, message string, fields *uint32, count uint32)

// Level is how much a line of the log matters.
type Level uint8

const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// Log writes one line.
func Log(level Level, message string, fields ...Pair) {
	words, count := lend(fields)
	logWrite(uint32(level), message, words, count)
}

// Config: the operator's settings for this plugin.

//go:wasmimport device:behaviour/config@0.1.0 get
func configGet(key string, to *area)

//go:wasmimport device:behaviour/config@0.1.0 entries
func configEntries(to *area)

// Setting is the value of a key, and whether there is one: a text as it stands,
// anything else as JSON text.
func Setting(key string) (string, bool) {
	var to area
	configGet(key, &to)
	return string(to.bytes(1)), to.word(0)&0xff != 0
}

// Settings are all of them, in the order of their keys.
func Settings() []Pair {
	var to area
	configEntries(&to)
	words := to.list(0, 4)
	pairs := make([]Pair, 0, len(words)/4)
	for ; len(words) > 0; words = words[4:] {
		pairs = append(pairs, Pair{
			string(taken(words[0], words[1])), string(taken(words[2], words[3])),
		})
	}
	return pairs
}

// Twin: what the cloud wants of the device, and what the device says of itself.

//go:wasmimport device:behaviour/twin@0.1.0 report
func twinReport(patch string, to *area)

//go:wasmimport device:behaviour/twin@0.1.0 report-and-wait
func twinReportAndWait(patch string, timeout uint32, to *area)

//go:wasmimport device:behaviour/twin@0.1.0 desired
func twinDesired(to *area)

//go:wasmimport device:behaviour/twin@0.1.0 reported
func twinReported(to *area)

// Document is one half of the twin.
type Document struct {
	Body    json.RawMessage
	Version uint64
}

// Report queues a change of the reported properties, a JSON object, and returns
// without waiting for the network.
func Report(patch json.RawMessage) error {
	var to area
	twinReport(text(patch), &to)
	return to.err(1)
}

// ReportAndWait does the same, but waits until the hub has taken it; it gives the
// version that the hub acknowledged.
func ReportAndWait(patch json.RawMessage, timeout time.Duration) (uint64, error) {
	var to area
	twinReportAndWait(text(patch), milliseconds(timeout), &to)
	// A result with a 64-bit number in it has what follows at a multiple of eight.
	if err := to.err(2); err != nil {
		return 0, err
	}
	return to[1], nil
}

// Desired are the desired properties, as the host last saw them.
func Desired() (Document, error) { return document(twinDesired) }

// Reported are the reported properties, as the hub last acknowledged them.
func Reported() (Document, error) { return document(twinReported) }

func document(function func(*area)) (Document, error) {
	var to area
	function(&to)
	if err := to.err(2); err != nil {
		return Document{}, err
	}
	return Document{Body: to.bytes(2), Version: to[2]}, nil
}

// Telemetry: device-to-cloud messages.

//go:wasmimport device:behaviour/telemetry@0.1.0 send
func telemetrySend(body, contentType string, properties *uint32, count uint32, to *area)

// Send queues one message and returns without waiting for the network.
func Send(body []byte, contentType string, properties ...Pair) error {
	var to area
	words, count := lend(properties)
	telemetrySend(text(body), contentType, words, count, &to)
	return to.err(1)
}

// State: what a plugin remembers from one call to the next.

//go:wasmimport device:behaviour/state@0.1.0 get
func stateGet(key string, to *area)

//go:wasmimport device:behaviour/state@0.1.0 set
func stateSet(key, value string, to *area)

//go:wasmimport device:behaviour/state@0.1.0 delete
func stateDelete(key string, to *area)

//go:wasmimport device:behaviour/state@0.1.0 keys
func stateKeys(prefix string, limit uint32, to *area)

//go:wasmimport device:behaviour/state@0.1.0 swap
func stateSwap(key string, isExpected bool, expected string, isValue bool, value string, to *area)

// State is the value of a key. It is nil if there is none, and empty but not nil
// if that is what was set.
func State(key string) ([]byte, error) {
	var to area
	stateGet(key, &to)
	if err := to.err(1); err != nil || to.word(1)&0xff == 0 {
		return nil, err
	}
	return to.bytes(2), nil
}

// SetState sets a key to a value.
func SetState(key string, value []byte) error {
	var to area
	stateSet(key, text(value), &to)
	return to.err(1)
}

// DeleteState deletes a key; that it is not there is no error.
func DeleteState(key string) error {
	var to area
	stateDelete(key, &to)
	return to.err(1)
}

// StateKeys are the keys that begin with this, in order, `limit` of them at most.
func StateKeys(prefix string, limit uint32) ([]string, error) {
	var to area
	stateKeys(prefix, limit, &to)
	if err := to.err(1); err != nil {
		return nil, err
	}
	words := to.list(1, 2)
	keys := make([]string, 0, len(words)/2)
	for ; len(words) > 0; words = words[2:] {
		keys = append(keys, string(taken(words[0], words[1])))
	}
	return keys, nil
}

// SwapState sets a key to a value, but only if it has the expected one, and says
// whether it had. Nil stands for none in both places.
func SwapState(key string, expected, value []byte) (bool, error) {
	var to area
	stateSwap(key, expected != nil, text(expected), value != nil, text(value), &to)
	return to.yes()
}

// Jobs: work that outlives the call. Only a plugin that exports `deferred` may
// ask for it.

//go:wasmimport device:behaviour/jobs@0.1.0 after-response
func jobsAfterResponse(name, payload string, to *area)

//go:wasmimport device:behaviour/jobs@0.1.0 after-delay
func jobsAfterDelay(name, payload string, delay uint32, to *area)

//go:wasmimport device:behaviour/jobs@0.1.0 after-boot
func jobsAfterBoot(name, payload string, within uint32, to *area)

//go:wasmimport device:behaviour/jobs@0.1.0 cancel
func jobsCancel(id string, to *area)

//go:wasmimport device:behaviour/jobs@0.1.0 boot-outcome-of-current
func jobsBootOutcomeOfCurrent() uint32

// JobAfterResponse asks for a job once the answer of this call has left, and
// gives its id.
func JobAfterResponse(name string, payload json.RawMessage) (string, error) {
	var to area
	jobsAfterResponse(name, text(payload), &to)
	return to.id()
}

// JobAfterDelay asks for one after this time.
func JobAfterDelay(name string, payload json.RawMessage, delay time.Duration) (string, error) {
	var to area
	jobsAfterDelay(name, text(payload), milliseconds(delay), &to)
	return to.id()
}

// JobAfterBoot asks for one once the machine has booted anew, or after this time
// without.
func JobAfterBoot(name string, payload json.RawMessage, within time.Duration) (string, error) {
	var to area
	jobsAfterBoot(name, text(payload), milliseconds(within), &to)
	return to.id()
}

// CancelJob says whether the job was still waiting, and now will not run.
func CancelJob(id string) (bool, error) {
	var to area
	jobsCancel(id, &to)
	return to.yes()
}

// BootOutcome is what became of the boot that a job waited for.
type BootOutcome uint8

const (
	NotWaitedFor BootOutcome = iota
	Rebooted
	HostRestartedOnly
	Expired
)

// BootOutcomeOfCurrent is that of the job in progress.
func BootOutcomeOfCurrent() BootOutcome { return BootOutcome(jobsBootOutcomeOfCurrent()) }

// An area is where the host writes what it returns. A pointer to one that goes to
// the host keeps it on the heap, where nothing moves.
type area [3]uint64

// The host reads four bytes at a time, Go's own pointers have eight.
func (to *area) word(at int) uint32 { return uint32(to[at/2] >> (32 * (at % 2))) }

func (to *area) setWord(at int, word uint32) { to[at/2] |= uint64(word) << (32 * (at % 2)) }

func (to *area) bytes(at int) []byte { return taken(to.word(at), to.word(at+1)) }

// The words of a list, which has so many of them for each of its elements.
func (to *area) list(at int, each uint32) []uint32 {
	count := to.word(at+1) * each
	if count == 0 {
		return nil
	}
	words := make([]uint32, count)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 4*count), taken(to.word(at), 4*count))
	return words
}

// The error, where the result is one and it begins at this word.
func (to *area) err(at int) error {
	if to.word(0)&0xff == 0 {
		return nil
	}
	err := Error{Kind: Kind(to.word(at))}
	switch err.Kind {
	case Offline, Timeout:
	case Throttled:
		if to.word(at+1)&0xff != 0 {
			err.RetryAfter = time.Duration(to.word(at+2)) * time.Millisecond
		}
	default:
		err.Text = string(to.bytes(at + 1))
	}
	return err
}

func (to *area) yes() (bool, error) {
	if err := to.err(1); err != nil {
		return false, err
	}
	return to.word(1)&0xff != 0, nil
}

func (to *area) id() (string, error) {
	if err := to.err(1); err != nil {
		return "", err
	}
	return string(to.bytes(1)), nil
}

func textFrom(function func(*area)) string {
	var to area
	function(&to)
	return string(to.bytes(0))
}

// The same bytes as a text, which is what Go passes as a pointer and a length.
func text(bytes []byte) string { return unsafe.String(unsafe.SliceData(bytes), len(bytes)) }

func milliseconds(duration time.Duration) uint32 {
	return uint32(min(max(duration.Milliseconds(), 0), math.MaxUint32))
}

func address(text string) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.StringData(text)))) }

// Pairs that the host reads. The collector does not see through the addresses,
// so they are kept here; that also keeps their texts off the stack, which moves.
var lent []Pair

func lend(pairs []Pair) (*uint32, uint32) {
	lent = pairs
	words := make([]uint32, 0, 4*len(pairs)+1) // one more, so that there is an address
	for _, pair := range pairs {
		words = append(words, address(pair[0]), uint32(len(pair[0])))
		words = append(words, address(pair[1]), uint32(len(pair[1])))
	}
	return unsafe.SliceData(words), uint32(len(pairs))
}

// Where memory that the host asks for is handed out. None of it is Go's: to
// allocate may set off the collector, which reads the clock, and from within
// cabi_realloc nothing may be called. Nor is the runtime up when the adapter
// between WASI 0.1 and 0.2 asks first. This works in both cases; to link to it
// needs -checklinkname=0.
//
//go:linkname sbrk runtime.sbrk
func sbrk(length uintptr) unsafe.Pointer

var arena struct {
	// Where to begin anew once nothing is on its way any more.
	start           uint32
	next, end, size uint32
	// How many pieces the host has, or has filled and nobody has taken.
	onTheWay uint32
}

// What the adapter has asked for it keeps.
func init() { arena.start, arena.onTheWay = arena.next, 0 }

// The host asks for memory here, for what it passes in.
//
//go:wasmexport cabi_realloc
func realloc(old, oldLength, alignment, length uint32) uint32 {
	if length == 0 {
		return alignment
	}
	ptr := (arena.next + alignment - 1) &^ (alignment - 1)
	if arena.end < ptr || arena.end-ptr < length {
		arena.size = max(2*arena.size, length, 1<<16)
		ptr = uint32(uintptr(sbrk(uintptr(arena.size)))) // a page, so aligned
		if ptr == 0 {
			panic("out of memory")
		}
		arena.start, arena.end = ptr, ptr+arena.size
	}
	arena.next = ptr + length
	if oldLength > 0 {
		copy(passed(ptr, length), passed(old, oldLength))
	} else {
		arena.onTheWay++
	}
	return ptr
}

func passed(ptr, length uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(ptr))), length)
}

// A copy of what the host has passed in, which is to be taken once.
func taken(ptr, length uint32) []byte {
	if length == 0 {
		return []byte{}
	}
	bytes := append([]byte(nil), passed(ptr, length)...)
	if arena.onTheWay--; arena.onTheWay == 0 {
		arena.next = arena.start
	}
	return bytes
}

// What invoke returns, and the text that it points to, until the host has read it.
var (
	returning     area
	returningText string
)

//go:wasmexport device:behaviour/methods@0.1.0#invoke
func invoke(name, nameLength, payload, payloadLength uint32) *area {
	response, err := handler(string(taken(name, nameLength)), taken(payload, payloadLength))
	returning = area{}
	if err != nil {
		refuse(err)
		return &returning
	}
	returningText = string(response.Payload)
	returning.setWord(1, uint32(response.Status))
	if response.Payload != nil {
		returning.setWord(2, 1)
		returning.setWord(3, address(returningText))
		returning.setWord(4, uint32(len(returningText)))
	}
	return &returning
}

func refuse(err error) {
	var refusal Refusal
	if !errors.As(err, &refusal) {
		refusal = Refusal{Kind: Failed, Text: err.Error()}
	}
	returningText = refusal.Text
	returning.setWord(0, 1)
	returning.setWord(1, uint32(refusal.Kind))
	switch refusal.Kind {
	case UnknownMethod:
	case Busy:
		if refusal.RetryAfter > 0 {
			returning.setWord(2, 1)
			returning.setWord(3, milliseconds(refusal.RetryAfter))
		}
	default:
		returning.setWord(2, address(returningText))
		returning.setWord(3, uint32(len(returningText)))
	}
}
