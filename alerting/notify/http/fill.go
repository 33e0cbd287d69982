package http

import (
	"encoding/json"
	"errors"
	"fmt"

	"kemi.dev/kemi/alerting/notify/words"
)

var errNotJSON = errors.New("what it makes is no JSON")

// compile puts a template in the place of every text in a tree.
func compile(at string, v any) (any, error) {
	switch v := v.(type) {
	case string:
		t, err := words.Parse(at, v)
		if err != nil {
			return nil, err
		}
		return t, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = compile(fmt.Sprintf("%s.%d", at, i), v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for name := range v {
			var err error
			if out[name], err = compile(at+"."+name, v[name]); err != nil {
				return nil, err
			}
		}
		return out, nil
	default:
		return v, nil
	}
}

// filler fills templates in for one page.
type filler struct {
	data     words.Data
	receiver string
	failed   string // Says that a template failed; the first that did.
}

// fill returns the tree with texts in the place of templates.
func (f *filler) fill(v any) any {
	switch v := v.(type) {
	case *words.Text:
		text, err := v.Execute(f.data)
		if err != nil {
			return f.plain(err)
		}
		return text
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = f.fill(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name := range v {
			out[name] = f.fill(v[name])
		}
		return out
	default:
		return v
	}
}

// plain is what is said where a template failed.
func (f *filler) plain(err error) string {
	if f.failed == "" {
		f.failed = words.Failed(f.receiver, err)
	}
	return f.data.Plain + "\n" + f.failed
}

// instead is the body that is sent when the template of the whole body failed.
func (f *filler) instead(kind string, err error) []byte {
	text := f.plain(err)
	if !isJSON(kind) {
		return []byte(text)
	}
	p := f.data.Page
	body, _ := json.Marshal(map[string]string{ // Texts can always be encoded.
		"subject": f.data.Subject, "text": text, "kind": string(p.Kind), "incident": p.Incident, "page": p.ID, "dedup_key": p.DedupKey,
	})
	return body
}
