package event

import (
	"encoding/json"
	"iter"
	"reflect"
	"strings"
	"time"
)

// plain is JSON that is written as Encode writes it: without spaces, nulls and other whims. What it does not read just as
// encoding/json would, it refuses; that reads all of it then, which takes four times as long.
type plain struct {
	rest    string // What was not read yet. What was read are parts of the same text: one allocation for all of a word's.
	refused bool
}

// plainWord is a word that reads itself from plain JSON: one that comes by the ten thousand.
type plainWord interface {
	// readPlain takes in the word's object and refuses what it has no field for.
	readPlain(p *plain)
}

// unmarshal is json.Unmarshal.
func unmarshal(data []byte, into any) error {
	if w, is := into.(plainWord); is {
		p := plain{rest: string(data)}
		if w.readPlain(&p); !p.refused && p.rest == "" {
			return nil
		}
		reflect.ValueOf(into).Elem().SetZero() // A null leaves alone what it was taken for.
	}
	return json.Unmarshal(data, into)
}

// fields are the names of an object's fields, in their order; whoever ranges over them reads the value of each.
func (p *plain) fields() iter.Seq[string] {
	return func(yield func(name string) bool) {
		if p.need('{'); p.skip('}') {
			return
		}
		for {
			name := p.text()
			if p.need(':'); p.refused || !yield(name) || p.refused {
				return
			}
			if !p.skip(',') {
				p.need('}')
				return
			}
		}
	}
}

// skip reads a sign when it is the next one.
func (p *plain) skip(sign byte) bool {
	if p.rest == "" || p.rest[0] != sign {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *plain) need(sign byte) {
	if !p.skip(sign) {
		p.refused = true
	}
}

func (p *plain) text() string {
	p.need('"')
	text, rest, ok := strings.Cut(p.rest, `"`)
	if ok && isPlain(text) {
		p.rest = rest
		return text
	}
	return p.escaped()
}

// escaped reads a text that has more than plain signs in it, whose first quote was read.
func (p *plain) escaped() (text string) {
	for end := 0; end < len(p.rest); end++ {
		switch p.rest[end] {
		case '\\':
			end++
		case '"':
			if json.Unmarshal([]byte(`"`+p.rest[:end+1]), &text) != nil {
				p.refused = true
			}
			p.rest = p.rest[end+1:]
			return text
		}
	}
	p.refused = true
	return ""
}

// token reads up to the end of a value that is no text and has no parts.
func (p *plain) token() string {
	end := max(strings.IndexAny(p.rest, ",}]"), 0)
	token := p.rest[:end]
	p.rest = p.rest[end:]
	return token
}

func (p *plain) number() (v float64) {
	token := p.token()
	if len(token) == 1 && token[0] >= '0' && token[0] <= '9' {
		return float64(token[0] - '0')
	}
	if json.Unmarshal([]byte(token), &v) != nil || token == "null" {
		p.refused = true
	}
	return v
}

func (p *plain) bool() bool {
	token := p.token()
	if token != "true" && token != "false" {
		p.refused = true
	}
	return token == "true"
}

func (p *plain) time() (t time.Time) {
	if t.UnmarshalText([]byte(p.text())) != nil {
		p.refused = true
	}
	return t
}

func (p *plain) list() []string {
	all := []string{}
	if p.need('['); p.skip(']') {
		return all
	}
	for !p.refused {
		all = append(all, p.text())
		if !p.skip(',') {
			p.need(']')
			break
		}
	}
	return all
}

// texts reads an object of texts into a map, which it makes when there is none.
func (p *plain) texts(m map[string]string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	for name := range p.fields() {
		m[name] = p.text()
	}
	return m
}

// labels reads an object of texts that stand as Labels do: sorted, none of them empty.
func (p *plain) labels() Labels {
	var some [16]Label // Most have fewer, and their number is known only afterwards.
	ls := some[:0]
	for name := range p.fields() {
		value := p.text()
		if value == "" || len(ls) > 0 && ls[len(ls)-1].Name >= name {
			p.refused = true
		}
		ls = append(ls, Label{name, value})
	}
	return append(make(Labels, 0, len(ls)), ls...)
}

func (p *plain) reason(r *Reason) {
	for name := range p.fields() {
		switch name {
		case "code":
			r.Code = p.text()
		case "text":
			r.Text = p.text()
		case "causes":
			r.Causes = p.list()
		default:
			p.refused = true
		}
	}
}
