// Answers the method `greet` with what it was sent, and tells the twin when.
//
// gen/behaviour is made from wit/ by `behaviour build`.
package main

import (
	"encoding/json"

	"device.plugin/gen/behaviour"
)

func init() { behaviour.Exports.Invoke = invoke }

// The host calls what is exported; main never runs.
func main() {}

// To refuse is to return one of the cases of behaviour.MethodError.
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
