package event_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
)

// texts lists all texts of a value.
func texts(v reflect.Value) (all []string) {
	switch v.Kind() {
	case reflect.String:
		return []string{v.String()}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, texts(v.Index(i))...)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			all = append(append(all, texts(k)...), texts(v.MapIndex(k))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type() != reflect.TypeFor[time.Time]() {
				all = append(all, texts(v.Field(i))...)
			}
		}
	}
	return all
}

// Every text of a slim alert stands by itself, also those of fields that alerts get later, and says what it said; what
// several alerts say is there once.
func TestASlimAlertKeepsNothingOfTheTextItWasReadOf(t *testing.T) {
	full := func(n int) *event.Alert {
		a := &event.Alert{
			ID: fmt.Sprint("id-", n), Annotations: map[string]string{"summary": "sum", "text": strings.Repeat("long ", 100), "<&>": "\"quoted\""},
			Labels: event.LabelsOf(map[string]string{"instance": fmt.Sprint("host-", n), "rack": "rack-7"}), Reason: event.Reason{Code: "c", Text: "t", Causes: []string{"one", "two"}},
		}
		v := reflect.ValueOf(a).Elem()
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.String && f.String() == "" {
				f.SetString("field " + v.Type().Field(i).Name)
			}
		}
		a.Updated, a.StartsAt = time.Unix(1e9, 0).UTC(), time.Unix(1e9, 0).UTC()
		return a
	}
	var s event.Slim
	var racks []*byte
	for n := range 10_000 {
		a := full(n)
		// One text for all of them, as the reader of JSON makes it.
		all := texts(reflect.ValueOf(*a))
		whole := strings.Join(all, "")
		next := whole
		cut := func(v string) string {
			i := strings.Index(next, v)
			return next[i : i+len(v)]
		}
		part := reflect.New(reflect.TypeFor[event.Alert]()).Elem()
		part.Set(reflect.ValueOf(*a))
		for i := range part.NumField() {
			if f := part.Field(i); f.Kind() == reflect.String {
				f.SetString(cut(f.String()))
			}
		}
		b := part.Addr().Interface().(*event.Alert)
		for i, l := range b.Labels {
			b.Labels[i] = event.Label{Name: cut(l.Name), Value: cut(l.Value)}
		}
		b.Annotations = map[string]string{}
		for k, v := range a.Annotations {
			b.Annotations[cut(k)] = cut(v)
		}
		b.Reason.Code, b.Reason.Text = cut(b.Reason.Code), cut(b.Reason.Text)
		for i, c := range b.Reason.Causes {
			b.Reason.Causes[i] = cut(c)
		}
		s.Alert(b)
		if diff := cmp.Diff(full(n), b); diff != "" {
			t.Fatal(diff)
		}
		from := uintptr(unsafe.Pointer(unsafe.StringData(whole)))
		for _, text := range texts(reflect.ValueOf(*b)) {
			if at := uintptr(unsafe.Pointer(unsafe.StringData(text))); text != "" && at >= from && at < from+uintptr(len(whole)) {
				t.Fatalf("%q is a part of what was read", text)
			}
		}
		racks = append(racks, unsafe.StringData(b.Labels.Get("rack")))
	}
	if racks[0] != racks[1] {
		t.Error("two alerts have the same rack twice")
	}
}
