// Answers the method `greet` with its payload, and reports the time to the twin.
//
// `behaviour build` generates gen/behaviour from wit/.
package main

import (
	"encoding/json"

	"device.plugin/gen/behaviour"
)

func init() { behaviour.Exports.Invoke = invoke }

// The host calls only the exported functions. main never runs.
func main() {}

// To refuse the call, return a case of behaviour.MethodError.
func invoke(name string, payload json.RawMessage) (behaviour.Response, error) {
	if name != "greet" {
		return behaviour.Response{}, behaviour.MethodErrorUnknownMethod{}
	}
	behaviour.LogWrite(behaviour.LogLevelInfo, "greeted", [][2]string{{"with", string(payload)}})
	patch, err := json.Marshal(map[string]string{"lastGreeted": behaviour.ClockNowRfc3339()})
	if err != nil {
		return behaviour.Response{}, err
	}
	if err := behaviour.TwinReport(patch); err != nil {
		return behaviour.Response{}, err
	}
	answer, err := json.Marshal(map[string]json.RawMessage{"hello": payload})
	return behaviour.Response{Status: 200, Payload: answer}, err
}
