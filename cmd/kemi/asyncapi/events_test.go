package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/judge"
)

// hard are texts that are wrong in some program or other.
var hard = []string{
	"core-1", "Zürich 東京 🜂", "two\nlines\tand \"quotes\" \\", "<&>", " ends with a space ", "null", "1.0", "%41", "a.b*c>d", "\u202eright to left", "e\u0301",
	"0\u007f\u0085\ufffe",
}

// maker fills words: with everything, or with nothing that may be left out.
type maker struct {
	source *source
	full   bool
	n      int
}

func (m *maker) next() int { m.n++; return m.n }

func (m *maker) value(t *testing.T, v reflect.Value) {
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		if m.full {
			v.Set(reflect.ValueOf(time.Date(2026, 11, 22, 1, 2, 3, m.next()*1001, time.FixedZone("somewhere", 5*3600+1800))))
		}
		return
	case reflect.TypeFor[event.Labels]():
		if m.full {
			v.Set(reflect.ValueOf(event.LabelsOf(map[string]string{"target": hard[m.next()%len(hard)], "ünïcode": hard[m.next()%len(hard)]})))
		}
		return
	case reflect.TypeFor[json.RawMessage]():
		if m.full {
			v.SetBytes([]byte(`{"deep":[1,null,{"ä":"\u0000"}]}`))
		}
		return
	case reflect.TypeFor[time.Duration]():
		if m.full {
			v.SetInt(int64(90*time.Second + 1500*time.Millisecond))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		if all := m.source.values[v.Type().Name()]; v.Type().PkgPath() != "" {
			v.SetString(all[m.next()%len(all)].text)
		} else if m.full {
			v.SetString(hard[m.next()%len(hard)])
		}
	case reflect.Bool:
		v.SetBool(m.full)
	case reflect.Int, reflect.Int64:
		if m.full {
			v.SetInt(int64(m.next()))
		}
	case reflect.Float64:
		if m.full {
			v.SetFloat([]float64{-1.5, math.MaxFloat64, math.SmallestNonzeroFloat64, 1e21}[m.next()%4])
		}
	case reflect.Pointer:
		if m.full {
			v.Set(reflect.New(v.Type().Elem()))
			m.value(t, v.Elem())
		}
	case reflect.Slice:
		if m.full {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			m.value(t, v.Index(0))
			m.value(t, v.Index(1))
		}
	case reflect.Map:
		if m.full {
			v.Set(reflect.MakeMap(v.Type()))
			for range 2 {
				e := reflect.New(v.Type().Elem()).Elem()
				m.value(t, e)
				v.SetMapIndex(reflect.ValueOf(hard[m.next()%len(hard)]), e)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).Type() == reflect.TypeFor[time.Time]() && !strings.Contains(v.Type().Field(i).Tag.Get("json"), "omit") {
				// When it became true is always known.
				v.Field(i).Set(reflect.ValueOf(time.Date(2026, 11, 22, 1, 0, m.next(), 0, time.UTC)))
				continue
			}
			m.value(t, v.Field(i))
		}
	default:
		t.Fatalf("no value for a %s: teach maker.value", v.Type())
	}
}

// everything is events of every word that is JSON: full ones with every constant and every hard text, and empty ones.
func everything(t *testing.T) []event.Event {
	t.Helper()
	src, err := readSource(filepath.Join(top, "bus/event"))
	if err != nil {
		t.Fatal(err)
	}
	var all []event.Event
	for _, w := range words() {
		if w.value == nil {
			continue
		}
		for i := range 2 * len(hard) {
			m := &maker{source: src, full: i%6 != 0, n: i}
			v := reflect.New(w.value)
			m.value(t, v.Elem())
			all = append(all, v.Interface().(event.Event))
		}
	}
	return all
}

// Whatever Kemi says fits what the document says of it, and what it said when it was last released.
func TestIntegrationWhateverIsSaidFitsTheDocument(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Node")
	}
	j := judge.New(t, top)
	var records []judge.Record
	for i, e := range everything(t) {
		value, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, judge.Record{
			Name: fmt.Sprintf("%d %s", i, e.Topic().Word), Binding: "nats", Value: string(value),
			Headers: map[string]string{"content-type": e.Topic().ContentType, "kemi-word": e.Topic().Word, "kemi-route": e.Route()},
		})
	}
	for _, document := range []string{"docs/events.asyncapi.yaml", lastDocument} {
		for _, c := range j.Records(filepath.Join(top, document), knownTo(t, document, records)) {
			t.Errorf("%s: %s", document, c)
		}
	}
}

// knownTo are the records of words that there were when a document was made: later ones are on topics of their own.
func knownTo(t *testing.T, document string, records []judge.Record) []judge.Record {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, document))
	if err != nil {
		t.Fatal(err)
	}
	known := slices.DeleteFunc(slices.Clone(records), func(r judge.Record) bool { return !bytes.Contains(text, []byte(r.Headers["kemi-word"])) })
	if len(known) < len(records)/2 {
		t.Fatalf("%s knows only %d of %d records", document, len(known), len(records))
	}
	return known
}
