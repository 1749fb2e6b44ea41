// The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
// like guest-reboot, which is written in Rust.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"device.plugin/gen/behaviour"
)

func init() { behaviour.Exports.Invoke = invoke }

// The host calls only the exported functions. main never runs.
func main() {}

func invoke(name string, payload json.RawMessage) (behaviour.Response, error) {
	if name != "rebootDevice" {
		return behaviour.Response{}, behaviour.MethodErrorUnknownMethod{}
	}
	settings, err := readSettings()
	if err != nil {
		return behaviour.Response{}, fmt.Errorf("configuration: %w", err)
	}
	delay, err := requestedDelay(payload, settings.delay)
	if err != nil {
		return behaviour.Response{}, behaviour.MethodErrorInvalidPayload{Value: err.Error()}
	}

	info("Rebooting device")
	if err := behaviour.ClockSleepMs(uint32(delay.Milliseconds())); err != nil {
		return behaviour.Response{}, fmt.Errorf("reboot: %w", err)
	}
	info("Device rebooted")

	patch, err := settings.patch(behaviour.ClockNowRfc3339())
	if err != nil {
		return behaviour.Response{}, err
	}
	_, err = behaviour.TwinReportAndWait(patch, 5000)
	switch {
	case err == nil:
		info("Device twins updated with latest rebootTime")
	case errors.Is(err, behaviour.ErrorOffline{}), errors.Is(err, behaviour.ErrorTimeout{}):
		info("Device twins will be updated when the hub answers again")
	default:
		return behaviour.Response{}, fmt.Errorf("reported properties: %w", err)
	}
	answer := json.RawMessage(`{"Response": "This is the response from the device"}`)
	return behaviour.Response{Status: 200, Payload: answer}, nil
}

// Returns the delay in the payload, if any. Payloads that are not objects have none.
func requestedDelay(payload json.RawMessage, otherwise time.Duration) (time.Duration, error) {
	requested, isObject := object(payload)
	delay, isRequested := requested["delaySeconds"]
	if !isObject || !isRequested {
		return otherwise, nil
	}
	return seconds("delaySeconds", delay)
}

func info(message string) { behaviour.LogWrite(behaviour.LogLevelInfo, message, nil) }
