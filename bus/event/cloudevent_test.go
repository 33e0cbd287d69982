package event_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// envelopeOf returns the attributes of a word's wire form.
func envelopeOf(t interface {
	Helper()
	Fatal(...any)
}, e event.Event,
) map[string]any {
	t.Helper()
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var ce map[string]any
	if err := json.Unmarshal(data, &ce); err != nil {
		t.Fatal(err)
	}
	return ce
}

func rewrite(t *testing.T, e event.Event, change func(ce map[string]any)) []byte {
	t.Helper()
	ce := envelopeOf(t, e)
	change(ce)
	data, err := json.Marshal(ce)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWhatANewerKemiAddsIsLeftAlone(t *testing.T) {
	for name, e := range samples() {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		data := rewrite(t, e, func(ce map[string]any) {
			ce["traceparent"], ce["dataschema"], ce["sampledrate"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "https://example.org/schema", 7
			fields := ce["data"].(map[string]any)
			fields["a_field_of_tomorrow"] = map[string]any{"deep": []any{1, "two", nil}}
			if reason, ok := fields["reason"].(map[string]any); ok {
				reason["rule_of_thumb"] = true
			}
		})
		back, err := event.Parse(e.Topic().Name, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(event.Event(e), back); diff != "" {
			t.Errorf("%s reads differently:\n%s", name, diff)
		}
	}
}

func TestAnotherVersionIsRefusedWithWhatToDo(t *testing.T) {
	alert := samples()["alert.json"]
	for name, c := range map[string]struct {
		change func(ce map[string]any)
		want   string
	}{
		"a later version of the word": {func(ce map[string]any) { ce["type"] = "dev.kemi.alert.v2" }, `"dev.kemi.alert.v2", written by a newer Kemi; this one reads up to "dev.kemi.alert.v1": upgrade it`},
		"another word":                {func(ce map[string]any) { ce["type"] = "dev.kemi.page.v1" }, `type is "dev.kemi.page.v1", expected "dev.kemi.alert.v1"`},
		"a stranger's word":           {func(ce map[string]any) { ce["type"] = "com.example.alert.vX" }, `expected "dev.kemi.alert.v1"`},
		"a later CloudEvents":         {func(ce map[string]any) { ce["specversion"] = "2.0" }, `specversion is "2.0", this Kemi reads 1.0`},
		"no specversion":              {func(ce map[string]any) { delete(ce, "specversion") }, `specversion is ""`},
		"data that is no JSON":        {func(ce map[string]any) { ce["datacontenttype"] = "application/xml" }, `datacontenttype is "application/xml"`},
		"no data":                     {func(ce map[string]any) { delete(ce, "data") }, "no data"},
		"data that is nothing":        {func(ce map[string]any) { ce["data"] = nil }, "no data"},
		"data of nobody":              {func(ce map[string]any) { ce["data"] = map[string]any{} }, "id is missing"},
		"a field that is not there":   {func(ce map[string]any) { delete(ce["data"].(map[string]any), "starts_at") }, "starts_at is missing"},
		"an id that is empty":         {func(ce map[string]any) { ce["data"].(map[string]any)["id"] = "" }, "id is empty"},
		"a state that there is not":   {func(ce map[string]any) { ce["data"].(map[string]any)["state"] = "maybe" }, `"maybe" is no state`},
		"a field of a field": {func(ce map[string]any) {
			data := ce["data"].(map[string]any)
			delete(data, "rule")
			data["reason"] = map[string]any{"code": "a \\\" {\": [", "rule": "rule"}
		}, "rule is missing"},
		"a field of another type": {func(ce map[string]any) { ce["data"].(map[string]any)["labels"] = "none" }, "labels"},
	} {
		_, err := event.Parse("alerts.v1", rewrite(t, alert, c.change))
		if !errors.Is(err, event.ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// The JSON event format lets a producer carry data in base64, leave datacontenttype out or give it parameters.
func TestOtherFormsOfTheSameEventAreRead(t *testing.T) {
	command := samples()["command.json"]
	for name, change := range map[string]func(ce map[string]any){
		"data in base64": func(ce map[string]any) {
			data, _ := json.Marshal(ce["data"])
			ce["data_base64"] = base64.StdEncoding.EncodeToString(data)
			delete(ce, "data")
		},
		"no datacontenttype":   func(ce map[string]any) { delete(ce, "datacontenttype") },
		"with parameters":      func(ce map[string]any) { ce["datacontenttype"] = "application/json; charset=utf-8" },
		"a type that is +json": func(ce map[string]any) { ce["datacontenttype"] = "application/vnd.example+json" },
		"no subject, no time":  func(ce map[string]any) { delete(ce, "subject"); delete(ce, "time") },
	} {
		back, err := event.Parse("commands.v1", rewrite(t, command, change))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(event.Event(command), back); diff != "" {
			t.Errorf("%s reads differently:\n%s", name, diff)
		}
	}
}

// Attributes of type String have no control characters and no noncharacters, whatever people call their targets.
func TestAttributesAreLegalWhateverThingsAreCalled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		any := rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune{0, '\n', 0x7f, 0x85, 0xfdd0, 0xfffe, 0xffff, 0x1ffff, '%', 'ä', '🜂'})))
		c := &event.Command{Kind: event.AcceptShrink, Subject: any.Draw(t, "subject"), By: any.Draw(t, "by"), At: at}
		ce := envelopeOf(t, c)
		for _, name := range []string{"id", "source", "type", "subject", "partitionkey"} {
			text, there := ce[name].(string)
			if !there && c.Subject == "" && (name == "subject" || name == "partitionkey") {
				continue // Not said, rather than empty: the specification has no empty ones.
			}
			if text == "" {
				t.Fatalf("%s is empty", name)
			}
			for _, r := range text {
				if unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Noncharacter_Code_Point, r) {
					t.Fatalf("%s has %U", name, r)
				}
			}
		}
		data, _ := c.Encode()
		back, err := event.Parse("commands.v1", data)
		if c.Subject == "" && errors.Is(err, event.ErrMalformed) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := back.(*event.Command).Subject; got != c.Subject {
			t.Fatalf("said %q, read %q", c.Subject, got)
		}
	})
}
