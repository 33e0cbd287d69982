package conf

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Unmarshaler is a type that decodes itself: its pointer gets the node and says what is wrong with it. To fill the type
// as a struct first, decode into a type without methods: `type plain T; n.Into((*plain)(t))`.
type Unmarshaler interface {
	UnmarshalConf(n Node) Problems
}

// Validator is a type that checks itself after it was decoded.
type Validator interface {
	Validate() []Complaint
}

// Defaulter is a type of list items, map values or pointers that is given its defaults before it is decoded.
type Defaulter interface {
	SetDefaults()
}

var (
	nodeType     = reflect.TypeFor[Node]()
	posType      = reflect.TypeFor[Pos]()
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[time.Duration]()
)

// field is where the value of a key goes.
type field struct {
	key    string
	index  []int
	fromOf string // set for the key x_file that names the file of the secret x
}

// plan is what a struct type reads.
type plan struct {
	fields map[string]field
	names  []string // the keys, sorted
	places [][]int  // fields of type Pos
	inline [][]int  // structs whose fields were taken in
	rest   []int    // the Node that takes the keys nobody else wants, or nil
}

func planOf(t reflect.Type) *plan {
	p := &plan{fields: map[string]field{}}
	p.collect(t, nil)
	for _, f := range slices.Collect(mapValues(p.fields)) {
		if t.FieldByIndex(f.index).Type == secretType {
			if file := f.key + "_file"; !p.has(file) {
				p.fields[file] = field{key: file, index: f.index, fromOf: f.key}
			}
		}
	}
	for name := range p.fields {
		p.names = append(p.names, name)
	}
	slices.Sort(p.names)
	return p
}

func mapValues(m map[string]field) func(func(field) bool) {
	return func(yield func(field) bool) {
		for _, f := range m {
			if !yield(f) {
				return
			}
		}
	}
}

func (p *plan) has(key string) bool {
	_, ok := p.fields[key]
	return ok
}

func (p *plan) collect(t reflect.Type, prefix []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(slices.Clone(prefix), i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Type == posType:
			p.places = append(p.places, index)
		case option == "inline" && f.Type == nodeType:
			p.rest = index
		case option == "inline" && f.Type.Kind() == reflect.Struct:
			p.inline = append(p.inline, index)
			p.collect(f.Type, index)
		default:
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			if p.has(name) {
				panic(fmt.Sprintf("conf: %s has two fields for the key %q", t, name))
			}
			p.fields[name] = field{key: name, index: index}
		}
	}
}
