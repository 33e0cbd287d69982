package conf

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Into decodes the node into what v points to, strictly, and returns every mistake it finds, sorted. What is absent in
// the file stays as it is in v. It panics when v is not a pointer or a field has a type that cannot be configured, which
// are mistakes of the program.
func (n Node) Into(v any) Problems {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		panic(fmt.Sprintf("conf: Into needs a pointer, got %T", v))
	}
	if n.IsZero() {
		return nil
	}
	d := &decoder{plans: map[reflect.Type]*plan{}}
	d.value(n, target.Elem())
	return d.problems.sorted()
}

// decoder is the state of one Into.
type decoder struct {
	plans    map[reflect.Type]*plan
	problems Problems
	key      string // the key being decoded, for messages
}

func (d *decoder) complain(n Node, what, do string) {
	d.problems = append(d.problems, n.Problem(what, do))
}

// wrong says that the node is not what was expected.
func (d *decoder) wrong(n Node, expected, do string) {
	if d.key != "" {
		expected += fmt.Sprintf(" for %q", d.key)
	}
	d.complain(n, "expected "+expected+", got "+d.seen(n), do)
}

// seen describes the node without showing what came from the environment.
func (d *decoder) seen(n Node) string {
	if n.Kind() != Scalar {
		return n.Kind().String()
	}
	if n.v.source != "" {
		return "the value of " + strconv.Quote(n.v.source)
	}
	switch n.v.data.(type) {
	case bool:
		return n.v.text
	case string:
		text := []rune(n.v.text)
		if len(text) > 40 {
			text = append(text[:40], '…')
		}
		return "text " + strconv.Quote(string(text))
	default:
		return "the number " + n.v.text
	}
}

// value decodes n into v, which is addressable.
func (d *decoder) value(n Node, v reflect.Value) {
	t := v.Type()
	if t == nodeType {
		v.Set(reflect.ValueOf(n))
		return
	}
	if n.v.bad {
		return
	}
	switch t {
	case secretType:
		d.secret(n, v)
		return
	case durationType:
		d.duration(n, v)
		return
	}
	before := len(d.problems)
	own := custom(v)
	switch own := own.(type) {
	case Unmarshaler:
		d.problems = append(d.problems, own.UnmarshalConf(n)...)
	case encoding.TextUnmarshaler:
		d.unmarshalText(n, own)
	default:
		d.plain(n, v)
		if t.Kind() == reflect.Struct {
			return // which has validated itself, knowing which fields failed
		}
	}
	if own != nil && len(d.problems) == before {
		d.validate(n, v, nil)
	}
}

// custom returns the pointer to v when its type decodes itself.
func custom(v reflect.Value) any {
	if v.Type().PkgPath() == "" || !v.CanAddr() {
		return nil
	}
	return v.Addr().Interface()
}

// plain decodes by the kind of the Go type alone.
func (d *decoder) plain(n Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v)
	case reflect.Pointer:
		if n.Kind() == Null {
			v.SetZero()
			return
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
			setDefaults(v.Elem())
		}
		d.value(n, v.Elem())
	case reflect.Slice:
		d.list(n, v)
	case reflect.Map:
		d.mapping(n, v)
	case reflect.Interface:
		if v.NumMethod() > 0 {
			panic(fmt.Sprintf("conf: a field of type %s cannot be configured", v.Type()))
		}
		if plain := plainValue(n); plain != nil {
			v.Set(reflect.ValueOf(plain))
		} else {
			v.SetZero()
		}
	default:
		d.scalar(n, v)
	}
}

func setDefaults(v reflect.Value) {
	if own, ok := v.Addr().Interface().(Defaulter); ok {
		own.SetDefaults()
	}
}

func (d *decoder) list(n Node, v reflect.Value) {
	switch n.Kind() {
	case Null:
		v.SetZero()
	case List:
		items := n.Items()
		out := reflect.MakeSlice(v.Type(), len(items), len(items))
		for i, item := range items {
			setDefaults(out.Index(i))
			d.value(item, out.Index(i))
		}
		v.Set(out)
	default:
		d.wrong(n, "a list", "write [a, b] or one line \"- a\" for each entry")
	}
}

func (d *decoder) mapping(n Node, v reflect.Value) {
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		panic(fmt.Sprintf("conf: a field of type %s cannot be configured", t))
	}
	switch n.Kind() {
	case Null:
		v.SetZero()
	case Map:
		outer := d.key
		out := reflect.MakeMapWithSize(t, len(n.v.keys))
		for i, key := range n.v.keys {
			d.key = key.v.text
			item := reflect.New(t.Elem()).Elem()
			setDefaults(item)
			d.value(n.v.vals[i], item)
			out.SetMapIndex(reflect.ValueOf(key.v.text).Convert(t.Key()), item)
		}
		d.key = outer
		v.Set(out)
	default:
		d.wrong(n, "a mapping", "write one \"key: value\" line for each entry")
	}
}

func (d *decoder) structure(n Node, v reflect.Value) {
	p := d.plans[v.Type()]
	if p == nil {
		p = planOf(v.Type())
		d.plans[v.Type()] = p
	}
	if n.Kind() != Map && n.Kind() != Null {
		d.wrong(n, "a mapping", "write one \"key: value\" line for each setting")
		return
	}
	for _, index := range p.places {
		v.FieldByIndex(index).Set(reflect.ValueOf(n.Pos()))
	}
	var failed map[string]bool
	fail := func(key string) {
		if key == "" {
			return
		}
		if failed == nil {
			failed = map[string]bool{}
		}
		failed[key] = true
	}
	outer := d.key
	rest := &value{pos: n.Pos(), kind: Map}
	for i, key := range n.Keys() {
		val := n.v.vals[i]
		f, ok := p.fields[key.v.text]
		if !ok && p.rest != nil {
			rest.add(key, val)
			continue
		}
		before := len(d.problems)
		d.key = key.v.text
		switch {
		case !ok:
			fail(d.unknown(key, p))
		case f.fromOf != "":
			d.secretFile(n, key, val, f, v.FieldByIndex(f.index))
		default:
			d.value(val, v.FieldByIndex(f.index))
		}
		if ok && (len(d.problems) > before || val.v.bad) {
			fail(cmp.Or(f.fromOf, f.key))
		}
	}
	d.key = outer
	if p.rest != nil {
		v.FieldByIndex(p.rest).Set(reflect.ValueOf(Node{rest}))
	}
	for _, index := range p.inline {
		d.validate(n, v.FieldByIndex(index), failed)
	}
	d.validate(n, v, failed)
}

// unknown complains about a key and returns the known key that was probably meant.
func (d *decoder) unknown(key Node, p *plan) string {
	near := Nearest(key.v.text, p.names)
	var do string
	switch {
	case near != "":
		do = fmt.Sprintf("did you mean %q?", near)
	case len(p.names) == 0:
		do = "remove it, nothing can be set here"
	default:
		do = "the known keys are " + strings.Join(p.names, ", ")
	}
	d.complain(key, fmt.Sprintf("unknown key %q", key.v.text), do)
	return near
}

// plainValue returns the node as plain Go values: nil, bool, int, uint64, float64, string, []any, map[string]any.
func plainValue(n Node) any {
	switch n.Kind() {
	case Scalar:
		return plainScalar(n.v.data)
	case List:
		out := make([]any, len(n.v.vals))
		for i, item := range n.v.vals {
			out[i] = plainValue(item)
		}
		return out
	case Map:
		out := make(map[string]any, len(n.v.keys))
		for i, key := range n.v.keys {
			out[key.v.text] = plainValue(n.v.vals[i])
		}
		return out
	default:
		return nil
	}
}
