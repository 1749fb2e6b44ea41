// Uses every interface and has every optional export, as ../cases expects.
package main

import (
	"encoding/json"
	"fmt"

	"device.plugin/gen/behaviour"
)

func init() {
	behaviour.Exports.Invoke = invoke
	behaviour.Exports.Run = run
	behaviour.Exports.Changed = changed
	behaviour.Exports.Start = start
	behaviour.Exports.Stop = stop
}

// The host calls only the exported functions. main never runs.
func main() {}

func invoke(name string, payload json.RawMessage) (behaviour.Response, error) {
	switch name {
	case "host":
		answer, err := json.Marshal(host(payload))
		return behaviour.Response{Status: 200, Payload: answer}, err
	case "nothing":
		return behaviour.Response{Status: 204}, nil
	case "invalid":
		return behaviour.Response{}, behaviour.MethodErrorInvalidPayload{Value: string(payload)}
	case "busy":
		wait := uint32(7)
		return behaviour.Response{}, behaviour.MethodErrorBusy{Value: &wait}
	case "failed":
		return behaviour.Response{}, behaviour.TwinReport(json.RawMessage("[]"))
	case "other":
		return behaviour.Response{}, behaviour.MethodErrorOther{}
	}
	return behaviour.Response{}, behaviour.MethodErrorUnknownMethod{}
}

func run(name string, payload json.RawMessage) error {
	switch name {
	case "later":
		wait := uint32(5000)
		return behaviour.JobErrorRetry{Value: &wait}
	case "some-time":
		return behaviour.JobErrorRetry{}
	case "never":
		return behaviour.JobErrorReject{Value: string(payload)}
	case "odd":
		return fmt.Errorf("odd")
	}
	outcome := fmt.Sprintf("%d %d", behaviour.JobsBootOutcomeOfCurrent(), behaviour.ContextAttempt())
	behaviour.LogWrite(behaviour.LogLevelDebug, name, [][2]string{{string(payload), outcome}})
	return nil
}

func changed(patch json.RawMessage, version uint64) error {
	behaviour.LogWrite(behaviour.LogLevelInfo, string(patch), [][2]string{{"version", fmt.Sprint(version)}})
	return nil
}

func start(previous *string) error {
	if previous == nil {
		return nil
	}
	return fmt.Errorf("not after %s", *previous)
}

func stop() { behaviour.LogWrite(behaviour.LogLevelWarn, "stopped", nil) }

// host returns one line about each answer of the host.
func host(payload json.RawMessage) (lines string) {
	line := func(values ...any) { lines += fmt.Sprintln(values...) }
	behaviour.LogWrite(behaviour.LogLevelError, "a", [][2]string{{"b", "c"}, {"ü", ""}})
	line(behaviour.ContextPluginName(), behaviour.ContextDeviceId(), behaviour.ContextCallId(), behaviour.ContextRemainingMs(), behaviour.ContextAttempt())
	must(behaviour.ClockSleepMs(1500))
	line(behaviour.ClockNowRfc3339(), behaviour.ClockNowMs())
	line(*behaviour.ConfigGet("text"), or(behaviour.ConfigGet("missing")))
	for _, entry := range behaviour.ConfigEntries() {
		line(entry[0] + "=" + entry[1])
	}
	line(done(behaviour.TwinReportAndWait(json.RawMessage(`{"a":1}`), 1000)))
	desired, reported := done(behaviour.TwinDesired()), done(behaviour.TwinReported())
	line(string(desired.Body), desired.Version, string(reported.Body), reported.Version)
	must(behaviour.TelemetrySend(payload, "application/json", [][2]string{{"x", "y"}}))
	must(behaviour.StateSet("k1", []byte("one")))
	must(behaviour.StateSet("k2", []byte("")))
	line(bytes("k1"), bytes("k2"), bytes("k3"))
	line(done(behaviour.StateSwap("k1", []byte("two"), nil)), done(behaviour.StateSwap("k1", []byte("one"), []byte("1"))))
	line(done(behaviour.StateSwap("k3", nil, []byte("three"))), done(behaviour.StateSwap("k2", []byte{}, nil)))
	keys := done(behaviour.StateKeys("k", 9))
	line(keys[0], keys[1], len(keys))
	must(behaviour.StateDelete("k1"))
	job := done(behaviour.JobsAfterDelay("first", json.RawMessage("1"), 2000))
	done(behaviour.JobsAfterBoot("second", json.RawMessage("2"), 60000))
	done(behaviour.JobsAfterResponse("third", json.RawMessage("3")))
	line(job, done(behaviour.JobsCancel("none")), done(behaviour.JobsCancel(job)))
	must(behaviour.PowerRequestReboot(10, "because"))
	line("ok")
	line(behaviour.PowerRequestReboot(10, "again"))
	behaviour.MetricsAdd("opened", 2, [][2]string{{"door", "front"}})
	behaviour.MetricsAdd("opened", 0.5, [][2]string{{"door", "front"}})
	behaviour.MetricsSet("heat", -1.5, nil)
	behaviour.MetricsSetBounds("wait_seconds", []float64{0.5, 1})
	behaviour.MetricsObserve("wait_seconds", 0.25, nil)
	line(or(behaviour.ContextTraceParent()))
	return lines
}

func bytes(key string) string {
	value := done(behaviour.StateGet(key))
	if value == nil {
		return "null"
	}
	return string(value)
}

func or(text *string) string {
	if text == nil {
		return "null"
	}
	return *text
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func done[T any](value T, err error) T {
	must(err)
	return value
}
