// Answers the method `greet` with what it was sent, and tells the twin when.
package main

import (
	"encoding/json"

	"device.plugin/behaviour"
)

func init() { behaviour.Handle(invoke) }

// The host calls what is registered; main never runs.
func main() {}

// To refuse is to return a behaviour.Refusal.
func invoke(name string, payload json.RawMessage) (behaviour.Response, error) {
	if name != "greet" {
		return behaviour.Response{}, behaviour.Refusal{Kind: behaviour.UnknownMethod}
	}
	behaviour.Log(behaviour.LevelInfo, "greeted", behaviour.Pair{"with", string(payload)})
	patch, err := json.Marshal(map[string]string{"lastGreeted": behaviour.NowRFC3339()})
	if err != nil {
		return behaviour.Response{}, err
	}
	if err := behaviour.Report(patch); err != nil {
		return behaviour.Response{}, err
	}
	return behaviour.Answer(200, map[string]json.RawMessage{"hello": payload})
}
