package event

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var texts = rapid.OneOf(rapid.StringMatching(`[a-z_]{0,6}`), rapid.String(), rapid.SampledFrom([]string{`a"b`, `<x>`, `\`, "\x7f", "é", "{", `,"data":{`, `","`}))

// Labels are written and read as a map of texts is.
func TestLabelsAreWrittenAndReadAsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ls Labels
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			ls = append(ls, Label{texts.Draw(t, "name"), texts.Draw(t, "value")})
		}
		if rapid.Bool().Draw(t, "a set") {
			ls = LabelsOf(ls.Map())
		}
		got, err := ls.MarshalJSON()
		want, _ := json.Marshal(ls.Map())
		if err != nil || string(got) != string(want) {
			t.Fatalf("%q is written %s, not %s: %v", ls, got, want, err)
		}
		text := string(got)
		if rapid.Bool().Draw(t, "spoilt") {
			at := rapid.IntRange(0, len(text)).Draw(t, "at")
			text = text[:at] + rapid.SampledFrom([]string{" ", `"`, `{`, `,`, `"a":"b",`, `\n`}).Draw(t, "by") + text[at:]
		}
		var m map[string]string
		var read Labels
		wrong := json.Unmarshal([]byte(text), &m)
		if err := json.Unmarshal([]byte(text), &read); (err == nil) != (wrong == nil) {
			t.Fatalf("%s: %v, as a map %v", text, err, wrong)
		}
		if d := cmp.Diff(LabelsOf(m), read); wrong == nil && d != "" {
			t.Fatalf("%s: %s", text, d)
		}
	})
}

// An envelope that is read in parts says what it says when it is read as a whole.
func TestAnEnvelopeIsReadInPartsAsAWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
		a := &Alert{
			ID: texts.Draw(t, "id"), Name: texts.Draw(t, "name"), State: AlertFiring, Target: texts.Draw(t, "target"), Domain: texts.Draw(t, "domain"),
			Labels: LabelsOf(map[string]string{"x": texts.Draw(t, "label")}), Annotations: map[string]string{"data": texts.Draw(t, "text")}, StartsAt: at, Updated: at,
		}
		data, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if rapid.Bool().Draw(t, "spoilt") {
			i := rapid.IntRange(0, len(text)).Draw(t, "at")
			text = text[:i] + rapid.SampledFrom([]string{" ", `"`, `{`, `}`, `,`, `"x":1,`, `,"x":1`, `"data":null,`, `"data":{},`, `,"data":{}`, `"data_base64":"e30=",`}).Draw(t, "by") + text[i:]
			if rapid.Bool().Draw(t, "reordered") {
				text = strings.Replace(text, `{"specversion":"1.0",`, `{"data":{"specversion":1},"specversion":"1.0",`, 1)
			}
		}
		var parts, whole Alert
		wrong, err := decodeAny([]byte(text), topicAlerts.Word, &whole), decodeCloudEvent([]byte(text), topicAlerts.Word, &parts)
		if (err == nil) != (wrong == nil) || err != nil && err.Error() != wrong.Error() {
			t.Fatalf("%s: %v, as a whole %v", text, err, wrong)
		}
		if d := cmp.Diff(whole, parts); err == nil && d != "" {
			t.Fatalf("%s: %s", text, d)
		}
	})
}

func BenchmarkAlertWire(b *testing.B) {
	at := time.Now().UTC()
	a := &Alert{
		ID: "0123456789abcdefghjkmnpqrs", Name: "HostDown", Rule: "fleet/HostDown", State: AlertFiring, Target: "srv-1", Team: "net", Domain: "default", Severity: "critical",
		Labels:      LabelsOf(map[string]string{"alertname": "HostDown", "target": "srv-1", "severity": "critical", "site": "dc1", "job": "fleet"}),
		Annotations: map[string]string{"summary": "srv-1 does not answer", "runbook": "https://wiki.example.org/runbooks/HostDown"}, StartsAt: at, Updated: at, Finding: "0123456789abcdefghjkmnpqrs",
	}
	data, err := a.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = a.Encode()
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := new(Alert).Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode as a whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := decodeAny(data, topicAlerts.Word, new(Alert)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
