package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"kemi.dev/kemi/bus/event"
)

// object is a YAML mapping that keeps its order.
type object = yaml.MapSlice

// obj makes a mapping of names and values; what is nil or "" is left out.
func obj(pairs ...any) object {
	var o object
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := pairs[i+1]; v != nil && v != "" {
			o = append(o, yaml.MapItem{Key: pairs[i], Value: v})
		}
	}
	return o
}

func ref(to string) object { return obj("$ref", "#/components/"+to) }

// open ends the comment of a type of constants that later versions may add to: readers take those they do not know.
const open = "More may come."

// schemas makes the JSON schemas of Go types, each struct and each type of constants by its name.
type schemas struct {
	source *source
	names  []string // In the order in which they were met.
	all    map[string]object
	err    error
}

// of returns the schema of a type, or a reference to it.
func (s *schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return obj("type", "string", "format", "date-time")
	case reflect.TypeFor[event.Labels]():
		return obj("type", "object", "additionalProperties", obj("type", "string"))
	case reflect.TypeFor[json.RawMessage]():
		return object{} // Anything.
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		return s.named(t, s.structOf)
	case reflect.String:
		if t.PkgPath() != "" {
			return s.named(t, s.constantsOf)
		}
		return obj("type", "string")
	case reflect.Bool:
		return obj("type", "boolean")
	case reflect.Int, reflect.Int64:
		return obj("type", "integer")
	case reflect.Float64:
		return obj("type", "number")
	case reflect.Slice:
		return obj("type", "array", "items", s.of(t.Elem()))
	case reflect.Map:
		if t.Key().Kind() == reflect.String {
			return obj("type", "object", "additionalProperties", s.of(t.Elem()))
		}
	}
	s.fail("no schema for Go's %s: teach schemas.of", t)
	return nil
}

// named makes a type's schema once and refers to it.
func (s *schemas) named(t reflect.Type, make func(reflect.Type) object) object {
	name := t.Name()
	if _, met := s.all[name]; !met {
		s.names, s.all[name] = append(s.names, name), nil
		s.all[name] = make(t)
	}
	return ref("schemas/" + name)
}

// structOf makes an object of a struct's fields. A field that is written even when it is empty is required.
func (s *schemas) structOf(t reflect.Type) object {
	var properties object
	var required []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		comment := s.source.fields[t.Name()][f.Name]
		schema := object(nil)
		switch {
		case t == reflect.TypeFor[event.Check]() && f.Name == "Every":
			// Check writes its interval as people do; see its MarshalJSON.
			name, options, schema = "every", "omitempty", obj("type", "string", "pattern", `^([0-9]+(\.[0-9]+)?(h|m|s|ms|us|µs|ns))+$`)
		case name == "":
			s.fail("%s.%s has no JSON name", t.Name(), f.Name)
		case name == "-":
			continue
		default:
			schema = s.of(f.Type)
		}
		if comment == "" {
			s.fail("%s.%s has no comment: strangers read it", t.Name(), f.Name)
		}
		if len(schema) == 1 && schema[0].Key == "$ref" { // What stands beside a $ref is ignored.
			schema = obj("allOf", []object{schema})
		}
		properties = append(properties, yaml.MapItem{Key: name, Value: append(obj("description", comment), schema...)})
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		} else if f.Type.Kind() == reflect.Struct && !strings.Contains(options, "omitzero") {
			s.fail("%s.%s is written although it says omitempty: say omitzero", t.Name(), f.Name)
		}
	}
	return obj("description", s.comment(t), "type", "object", "required", list(required), "properties", properties)
}

// constantsOf makes the schema of a string that is one of some constants.
func (s *schemas) constantsOf(t reflect.Type) object {
	values := s.source.values[t.Name()]
	if len(values) == 0 {
		s.fail("%s has no constants: is it more than a string?", t.Name())
	}
	var texts []string
	comment := s.comment(t)
	for _, v := range values {
		texts = append(texts, v.text)
		if v.comment != "" {
			comment += "\n- " + v.text + ": " + explain(v)
		}
	}
	if strings.HasSuffix(s.comment(t), open) {
		// Not enum: a reader that validates must take the ones of tomorrow.
		return obj("description", comment, "type", "string", "x-extensible-enum", list(texts))
	}
	return obj("description", comment, "type", "string", "enum", list(texts))
}

// explain gives a constant's comment without its Go name.
func explain(v value) string {
	name, rest, ok := strings.Cut(v.comment, ": ")
	if ok && !strings.Contains(name, " ") {
		return rest
	}
	_, rest, _ = strings.Cut(v.comment, " ")
	return rest
}

func (s *schemas) comment(t reflect.Type) string {
	c := s.source.types[t.Name()]
	if c == "" {
		s.fail("%s has no comment: strangers read it", t.Name())
	}
	return c
}

func (s *schemas) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("schema: "+format, args...)
	}
}

// list makes a YAML sequence, nil for none.
func list(texts []string) any {
	if len(texts) == 0 {
		return nil
	}
	return texts
}
