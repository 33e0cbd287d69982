package event

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// writer writes JSON byte for byte as encoding/json does, which takes three times as long. What it does not know how to
// write it calls strange; encoding/json writes all of it then, or says what is wrong with it.
type writer struct {
	out     []byte
	strange bool
}

// written is a word that writes itself: one that comes by the ten thousand.
type written interface {
	// write writes the word's fields.
	write(w *writer)
}

// marshal is json.Marshal, after what was written already.
func marshal(out []byte, v any) ([]byte, error) {
	if v, is := v.(written); is {
		w := writer{out: out}
		if w.object(v); !w.strange {
			return w.out, nil
		}
	}
	data, err := json.Marshal(v)
	return append(out, data...), err
}

// object writes an object.
func (w *writer) object(v written) {
	w.out = append(w.out, '{')
	v.write(w)
	w.out = append(w.out, '}')
}

// name begins a field.
func (w *writer) name(name string) {
	w.comma()
	w.out = append(append(append(w.out, '"'), name...), '"', ':')
}

// comma separates what follows from what is before it.
func (w *writer) comma() {
	if last := w.out[len(w.out)-1]; last != '{' && last != '[' {
		w.out = append(w.out, ',')
	}
}

func (w *writer) quote(s string) {
	if isPlain(s) {
		w.out = append(append(append(w.out, '"'), s...), '"')
		return
	}
	data, _ := json.Marshal(s) // There is no text that it does not write.
	w.out = append(w.out, data...)
}

// text writes a field; some is for one that is left out when it is empty. So it is with those below.
func (w *writer) text(name, s string) {
	w.name(name)
	w.quote(s)
}

func (w *writer) some(name, s string) {
	if s != "" {
		w.text(name, s)
	}
}

func (w *writer) time(name string, t time.Time) {
	w.name(name)
	w.at(t)
}

func (w *writer) at(t time.Time) {
	out, err := t.AppendText(append(w.out, '"'))
	w.out, w.strange = append(out, '"'), w.strange || err != nil
}

func (w *writer) someTime(name string, t time.Time) {
	if !t.IsZero() {
		w.time(name, t)
	}
}

func (w *writer) int(name string, n int) {
	w.name(name)
	w.out = strconv.AppendInt(w.out, int64(n), 10)
}

func (w *writer) someInt(name string, n int) {
	if n != 0 {
		w.int(name, n)
	}
}

func (w *writer) someTrue(name string, b bool) {
	if b {
		w.name(name)
		w.out = append(w.out, "true"...)
	}
}

func (w *writer) number(name string, v float64) {
	w.name(name)
	if abs := math.Abs(v); v != 0 && abs < 1e-6 || !(abs < 1e21) {
		data, err := json.Marshal(v)
		w.out, w.strange = append(w.out, data...), w.strange || err != nil
		return
	}
	w.out = strconv.AppendFloat(w.out, v, 'f', -1, 64)
}

func (w *writer) someTexts(name string, all []string) {
	if len(all) == 0 {
		return
	}
	w.name(name)
	w.out = append(w.out, '[')
	for _, s := range all {
		w.comma()
		w.quote(s)
	}
	w.out = append(w.out, ']')
}

func (w *writer) someMap(name string, m map[string]string) { members(w, name, m, w.quote) }

func (w *writer) someCounts(name string, m map[string]int) {
	members(w, name, m, func(n int) { w.out = strconv.AppendInt(w.out, int64(n), 10) })
}

// members writes a map by its keys, in their order; it is left out when it is empty.
func members[V any](w *writer, name string, m map[string]V, value func(V)) {
	if len(m) == 0 {
		return
	}
	w.name(name)
	w.out = append(w.out, '{')
	for _, key := range slices.Sorted(maps.Keys(m)) {
		w.comma()
		w.quote(key)
		w.out = append(w.out, ':')
		value(m[key])
	}
	w.out = append(w.out, '}')
}

func (w *writer) labels(name string, ls Labels) {
	w.name(name)
	data, err := ls.MarshalJSON()
	w.out, w.strange = append(w.out, data...), w.strange || err != nil
}

func (w *writer) field(name string, v written) {
	w.name(name)
	w.object(v)
}

// list writes a field that is left out when it is empty.
func list[T any, P interface {
	*T
	written
}](w *writer, name string, all []T) {
	if len(all) == 0 {
		return
	}
	w.name(name)
	w.out = append(w.out, '[')
	for i := range all {
		w.comma()
		w.object(P(&all[i]))
	}
	w.out = append(w.out, ']')
}
