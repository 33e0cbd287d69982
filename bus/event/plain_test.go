package event

import (
	"encoding/json"
	"math"
	"reflect"
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

// fill draws every field of a word; full leaves none of them empty, and all texts plain.
func fill(t *rapid.T, v reflect.Value, full bool) {
	some := func(most int) int {
		if full {
			return 1
		}
		return rapid.IntRange(0, most).Draw(t, "n")
	}
	text := func() string {
		if full {
			return rapid.StringMatching(`[a-z ]{1,6}`).Draw(t, "text")
		}
		return texts.Draw(t, "text")
	}
	switch v.Interface().(type) {
	case time.Time:
		if full || rapid.Bool().Draw(t, "a time") {
			at := time.Unix(rapid.Int64Range(-1e12, 5e11).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC()
			if full || rapid.Bool().Draw(t, "of our time") {
				at = time.Unix(rapid.Int64Range(1, 5e9).Draw(t, "s"), 5e6).UTC()
			}
			if rapid.Bool().Draw(t, "elsewhere") {
				at = at.In(time.FixedZone("", rapid.SampledFrom([]int{9 * 3600, -3600, 90, 24 * 3600}).Draw(t, "zone")))
			}
			v.Set(reflect.ValueOf(at))
		}
		return
	case Labels:
		m := map[string]string{}
		for range some(3) {
			m[text()] = text()
		}
		v.Set(reflect.ValueOf(LabelsOf(m)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text())
	case reflect.Bool:
		v.SetBool(full || rapid.Bool().Draw(t, "bool"))
	case reflect.Int:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Float64:
		v.SetFloat(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1, -1, 0.5, math.Copysign(0, -1), 1e-7, 1e21, math.MaxFloat64})).Draw(t, "number"))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), full)
		}
	case reflect.Pointer:
		if some(1) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), full)
		}
	case reflect.Slice:
		for range some(2) {
			one := reflect.New(v.Type().Elem()).Elem()
			fill(t, one, full)
			v.Set(reflect.Append(v, one))
		}
	case reflect.Map:
		if n := some(2); n > 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n {
				one := reflect.New(v.Type().Elem()).Elem()
				fill(t, one, full)
				v.SetMapIndex(reflect.ValueOf(text()), one)
			}
		}
	default:
		t.Fatalf("a field of kind %s", v.Kind())
	}
}

// What we write ourselves is what encoding/json writes, byte for byte, and what it refuses to write we do.
func TestWordsAreWrittenAsJSONWritesThem(t *testing.T) {
	for _, w := range []written{&envelope{}, &Alert{}, &Finding{}, &Incident{}, &Page{}} {
		of := reflect.TypeOf(w).Elem()
		t.Run(of.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := reflect.New(of)
				fill(t, v.Elem(), rapid.Bool().Draw(t, "full"))
				want, wrong := json.Marshal(v.Interface())
				got, err := marshal([]byte("before"), v.Interface())
				if (err == nil) != (wrong == nil) || err == nil && string(got) != "before"+string(want) {
					t.Fatalf("%s: %v\nJSON: %s: %v", got, err, want, wrong)
				}
			})
		})
	}
}

// What we read ourselves is what encoding/json reads.
func TestWordsAreReadAsJSONReadsThem(t *testing.T) {
	for _, w := range []plainWord{&envelope{}, &Alert{}, &Finding{}} {
		of := reflect.TypeOf(w).Elem()
		t.Run(of.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := reflect.New(of)
				fill(t, v.Elem(), rapid.Bool().Draw(t, "full"))
				data, err := json.Marshal(v.Interface())
				if err != nil {
					return
				}
				text := string(data)
				if rapid.Bool().Draw(t, "spoilt") {
					i := rapid.IntRange(0, len(text)).Draw(t, "at")
					text = text[:i] + rapid.SampledFrom([]string{" ", `"`, `{`, `}`, `,`, `0`, `-`, `e`, `.`, `null`, `"name":null,`, `"labels":{"a":"b"},`, `"ID":"x",`, `"value":1,`, `\u0041`, `\`, "\x00", "é", "\xff"}).Draw(t, "by") + text[i:]
				}
				want, got := reflect.New(of).Interface(), reflect.New(of).Interface()
				wrong, err := json.Unmarshal([]byte(text), want), unmarshal([]byte(text), got)
				if (err == nil) != (wrong == nil) {
					t.Fatalf("%s: %v, JSON: %v", text, err, wrong)
				}
				if d := cmp.Diff(want, got); err == nil && d != "" {
					t.Fatalf("%s: %s", text, d)
				}
			})
		})
	}
}

// Others write null for what there is not.
func TestANullIsNoText(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	a := &Alert{ID: "a", Name: "n", State: AlertFiring, Target: "t", Team: "net", Domain: "d", StartsAt: at, Updated: at}
	data, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var got Alert
	if err := got.Decode([]byte(strings.Replace(string(data), `"team":"net"`, `"team":null`, 1))); err != nil || got.Team != "" {
		t.Errorf("the team is %q: %v", got.Team, err)
	}
}

// A record may end anywhere.
func TestAnEventThatIsCutOffIsRefused(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	data, err := (&Alert{ID: "a", State: AlertFiring, Domain: "d", StartsAt: at, Updated: at}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		if new(Alert).Decode(data[:n]) == nil {
			t.Errorf("%s is read", data[:n])
		}
	}
}

// A field that is written and not read would cost all alerts four times the time, and nobody would notice.
func TestNoFieldIsForgottenWhenWordsAreRead(t *testing.T) {
	for _, w := range []plainWord{&envelope{}, &Alert{}, &Finding{}} {
		of := reflect.TypeOf(w).Elem()
		t.Run(of.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := reflect.New(of)
				fill(t, v.Elem(), true)
				data, err := json.Marshal(v.Interface())
				if err != nil {
					return
				}
				p := plain{rest: string(data)}
				word, _ := reflect.New(of).Interface().(plainWord)
				if word.readPlain(&p); p.refused || p.rest != "" {
					t.Fatalf("%s is not read by itself from %s on", data, p.rest)
				}
			})
		})
	}
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
