package event

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Label is one name and value.
type Label struct{ Name, Value string }

// Labels is a set of labels sorted by name, without empty values. Its JSON form is an object.
type Labels []Label

// LabelsOf sorts a map into Labels.
func LabelsOf(m map[string]string) Labels {
	ls := make(Labels, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if m[name] != "" {
			ls = append(ls, Label{name, m[name]})
		}
	}
	return ls
}

// Get returns the value of a name, "" when there is none.
func (ls Labels) Get(name string) string {
	i, ok := slices.BinarySearchFunc(ls, name, func(l Label, n string) int { return strings.Compare(l.Name, n) })
	if !ok {
		return ""
	}
	return ls[i].Value
}

// Map returns the labels as a new map.
func (ls Labels) Map() map[string]string {
	m := make(map[string]string, len(ls))
	for _, l := range ls {
		m[l.Name] = l.Value
	}
	return m
}

// With returns a copy in which the given names have the given values; an empty value removes the name.
func (ls Labels) With(more map[string]string) Labels {
	m := ls.Map()
	maps.Copy(m, more)
	return LabelsOf(m)
}

// Fingerprint is the identity of the set.
func (ls Labels) Fingerprint() string {
	said := make([]byte, 0, 512)
	for _, l := range ls {
		said = appendPart(appendPart(said, l.Name), l.Value)
	}
	return idOf(said)
}

// String writes the labels as PromQL does: {a="1", b="2"}.
func (ls Labels) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, l := range ls {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(l.Name)
		b.WriteString(`="`)
		b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(l.Value))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

// MarshalJSON writes an object.
func (ls Labels) MarshalJSON() ([]byte, error) {
	if out, ok := ls.plain(); ok {
		return out, nil
	}
	return json.Marshal(ls.Map())
}

// plain writes labels that need neither sorting nor escaping, which nearly all are, without a map.
func (ls Labels) plain() (out []byte, ok bool) {
	size := 2
	for i, l := range ls {
		if i > 0 && ls[i-1].Name >= l.Name || !isPlain(l.Name) || !isPlain(l.Value) {
			return nil, false
		}
		size += len(l.Name) + len(l.Value) + len(`"":"",`)
	}
	out = append(make([]byte, 0, size), '{')
	for i, l := range ls {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), l.Name...), '"', ':', '"')
		out = append(append(out, l.Value...), '"')
	}
	return append(out, '}'), true
}

// isPlain says whether encoding/json writes a text as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// UnmarshalJSON reads an object.
func (ls *Labels) UnmarshalJSON(data []byte) error {
	p := plain{rest: string(data)}
	if read := p.labels(); !p.refused && p.rest == "" {
		*ls = read
		return nil
	}
	var m map[string]string
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	*ls = LabelsOf(m)
	return nil
}
