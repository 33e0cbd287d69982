package event

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// required lists the fields of a word that every record of it has: those that are never left out when they are empty.
// They are what the AsyncAPI document calls required.
var required = sync.OnceValue(func() map[reflect.Type][]string {
	all := map[reflect.Type][]string{}
	for _, t := range []reflect.Type{
		reflect.TypeFor[Target](), reflect.TypeFor[Finding](), reflect.TypeFor[Alert](), reflect.TypeFor[Incident](), reflect.TypeFor[Page](),
		reflect.TypeFor[Command](), reflect.TypeFor[Silence](), reflect.TypeFor[Override](),
	} {
		for i := range t.NumField() {
			name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if name != "-" && !strings.Contains(options, "omit") {
				all[t] = append(all[t], name)
			}
		}
	}
	return all
})

// complete says what data, which is a JSON object that was decoded into a word, lacks of it.
func complete(data []byte, into Event) error {
	want := required()[reflect.TypeOf(into).Elem()]
	there := make([]bool, len(want))
	eachKey(data, func(key []byte) {
		for i, name := range want {
			if string(key) == name {
				there[i] = true
			}
		}
	})
	for i, name := range want {
		if !there[i] {
			return fmt.Errorf("%s is missing", name)
		}
	}
	if into.Key() == "" {
		return errors.New("nothing says what it is about: its id is empty")
	}
	switch e := into.(type) { // Types that will have no other value.
	case *Finding:
		if !slices.Contains([]Verdict{VerdictPending, VerdictFiring, VerdictOK, VerdictUnknown}, e.Verdict) {
			return fmt.Errorf("%q is no verdict", e.Verdict)
		}
	case *Alert:
		if e.State != AlertFiring && e.State != AlertResolved {
			return fmt.Errorf("%q is no state of an alert", e.State)
		}
	}
	return nil
}

// eachKey calls f for the keys of a JSON object that is known to be one, as they are written, and not for those of the
// objects in it. It allocates nothing.
func eachKey(data []byte, f func(key []byte)) {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			begin := i + 1
			for i = begin; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			if depth != 1 {
				continue
			}
			after := i + 1
			for after < len(data) && (data[after] == ' ' || data[after] == '\t' || data[after] == '\n' || data[after] == '\r') {
				after++
			}
			if after < len(data) && data[after] == ':' {
				f(data[begin:i])
			}
		}
	}
}
