package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode"

	"device.plugin/gen/behaviour"
)

// The settings in [plugins.NAME.config].
type settings struct {
	// delay_seconds
	delay time.Duration
	// property, a dotted path
	path []string
	// report, an object with additional properties. Values are raw, so that the text of
	// numbers is unchanged.
	additional map[string]json.RawMessage
}

func readSettings() (settings, error) {
	found := settings{delay: 20 * time.Second, path: []string{"rebootTime"}}
	for _, setting := range behaviour.ConfigEntries() {
		if err := found.set(setting[0], setting[1]); err != nil {
			return found, err
		}
	}
	// Reports a conflict of `report` with `property` before the reboot.
	_, err := found.patch("now")
	return found, err
}

func (found *settings) set(key, text string) (err error) {
	switch key {
	case "delay_seconds":
		found.delay, err = seconds(key, json.RawMessage(text))
	case "property":
		found.path = strings.Split(text, ".")
		for _, part := range found.path {
			if part == "" || strings.ContainsFunc(part, unfit) {
				err = fmt.Errorf("property: `%s` is not a list of keys separated by dots", text)
			}
		}
	case "report":
		var isObject bool
		if found.additional, isObject = object(json.RawMessage(text)); !isObject {
			err = fmt.Errorf("report: %s is not a JSON object", text)
		}
	default:
		err = fmt.Errorf("%s: unknown setting; expected delay_seconds, property or report", key)
	}
	return err
}

func (found settings) patch(time string) (json.RawMessage, error) {
	return nested(found.additional, found.path, time)
}

// Returns a copy of an object with the time at the path.
func nested(outer map[string]json.RawMessage, path []string, time string) (json.RawMessage, error) {
	key, rest := path[0], path[1:]
	there, isThere := outer[key]
	inner, isObject := object(there)
	if isThere && (len(rest) == 0 || !isObject) {
		return nil, fmt.Errorf("report: `%s` conflicts with `property`", key)
	}
	var value json.RawMessage
	var err error
	if len(rest) == 0 {
		value, err = json.Marshal(time)
	} else {
		value, err = nested(inner, rest, time)
	}
	if err != nil {
		return nil, err
	}
	whole := map[string]json.RawMessage{}
	maps.Copy(whole, outer)
	whole[key] = value
	return json.Marshal(whole)
}

// Parses a number of seconds from 0 to 300. An error contains the value.
func seconds(what string, value json.RawMessage) (time.Duration, error) {
	var number *float64 // distinguishes null from 0
	err := json.Unmarshal(value, &number)
	if err == nil && number != nil && *number >= 0 && *number <= 300 {
		return time.Duration(*number * float64(time.Second)), nil
	}
	text := string(value)
	if len(text) > 40 {
		text = fmt.Sprintf("a value of %d bytes", len(text))
	}
	return 0, fmt.Errorf("%s: %s is not a number from 0 to 300", what, text)
}

// Returns the members of an object, and false if the value is not an object.
func object(value json.RawMessage) (map[string]json.RawMessage, bool) {
	var members map[string]json.RawMessage
	err := json.Unmarshal(value, &members)
	return members, err == nil && members != nil // nil if the value is null
}

// Returns true if a character is not allowed in a key of the twin.
func unfit(c rune) bool { return c == '$' || c == ' ' || unicode.IsControl(c) }
