// Answers the method `fetch` with the response to a GET request to the URL in its payload.
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
	if name != "fetch" {
		return behaviour.Response{}, behaviour.MethodErrorUnknownMethod{}
	}
	var url string
	if err := json.Unmarshal(payload, &url); err != nil {
		return behaviour.Response{}, behaviour.MethodErrorInvalidPayload{Value: "expected a URL in quotes"}
	}
	response, err := behaviour.HttpSend(behaviour.HttpRequest{
		Method:  "GET",
		Url:     url,
		Headers: [][2]string{{"accept", "application/json"}},
	})
	if err != nil {
		return behaviour.Response{}, err // a case of behaviour.HttpRequestError
	}
	// The body must be JSON, since it is the answer's payload.
	return behaviour.Response{Status: response.Status, Payload: response.Body}, nil
}
