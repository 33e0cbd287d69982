// Package http tells a chat system or gateway of one's own by whatever HTTP API it has. In: pages, and a description of
// the request: a JSON tree, a form, a query or a body, filled in by templates. Out: one request per page. It promises that
// what a template puts in is encoded for where it stands, that an answer counts only when it is what was expected (an error
// inside a 200 is found), and that a template that fails is replaced and told of. It never follows a redirect and never
// shows the URL in an error.
package http

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/post"
	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// Config of a receiver with an API of its own. Every text in json, form, query and body is a template: see words.Text.
type Config struct {
	post.Config `yaml:",inline"`
	// Method of the request.
	Method string `yaml:"method"`
	// JSON is the body as it is to be; its texts are templates, everything else is sent as it stands.
	JSON any `yaml:"json"`
	// Form is the body as a web form.
	Form map[string]string `yaml:"form"`
	// Body is the body as one template, of the type ContentType.
	Body string `yaml:"body"`
	// ContentType of Body. With a JSON type, what the template makes has to be JSON.
	ContentType string `yaml:"content_type"`
	// Query is added to the URL's.
	Query map[string]string `yaml:"query"`
	// Expect says which answers mean that the page was taken; without it every 2xx.
	Expect *post.Expect `yaml:"expect"`
	// Folds says that the other side folds requests with the same Idempotency-Key: after a crash a page is sent again as
	// it is, and not marked as a possible duplicate.
	Folds bool `yaml:"folds"`
}

// Default posts, and gives an attempt ten seconds.
func Default() Config { return Config{Config: post.Default(), Method: "POST"} }

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	if !slices.Contains([]string{"GET", "POST", "PUT", "PATCH"}, c.Method) {
		complain("method", fmt.Sprintf("the method %q cannot tell anybody anything", c.Method), "use POST, PUT, PATCH or GET")
	}
	bodies := 0
	for field, given := range map[string]bool{"json": c.JSON != nil, "form": len(c.Form) > 0, "body": c.Body != ""} {
		if !given {
			continue
		}
		if bodies++; c.Method == "GET" {
			complain(field, "a GET has no body", "use query, or method: POST")
		}
	}
	switch {
	case bodies > 1:
		complain("", "there is more than one body", "keep one of json, form and body")
	case bodies == 0 && len(c.Query) == 0:
		complain("", "nothing says what to send", `write for example json: {text: "{{ .Plain }}"}`)
	}
	if c.ContentType != "" {
		if _, _, err := mime.ParseMediaType(c.ContentType); err != nil {
			complain("content_type", "it is no type of a body", "write for example application/json")
		} else if c.Body == "" {
			complain("content_type", "only body has a type of one's own", "leave it out, or use body")
		}
	}
	check := func(field string, v any) {
		if _, err := compile(field, v); err != nil {
			complain(field, "the template does not work: "+err.Error(), "correct it; {{ .Subject }}, {{ .Plain }}, {{ .Page }} and {{ .Incident }} are there")
		}
	}
	check("json", c.JSON)
	check("body", c.Body)
	for name, text := range c.Form {
		check("form."+name, text)
	}
	for name, text := range c.Query {
		check("query."+name, text)
	}
	return all
}

// Receiver tells one API.
type Receiver struct {
	name              string
	config            Config
	env               notify.Env
	client            *post.Client
	json, form, query any
	body              *words.Text
	personal          bool // It addresses people by their handle.
}

// New makes the receiver of the given name.
func New(name string, c Config, env notify.Env) (notify.Notifier, error) {
	r := &Receiver{name: name, config: c, env: env, personal: usesHandle(c)}
	var err error
	if r.client, err = post.New(c.Config); err != nil {
		return nil, err
	}
	if r.json, err = compile("json", c.JSON); err != nil {
		return nil, err
	}
	if r.form, err = compile("form", fields(c.Form)); err != nil {
		return nil, err
	}
	if r.query, err = compile("query", fields(c.Query)); err != nil {
		return nil, err
	}
	if c.Body != "" {
		if r.body, err = words.Parse("body", c.Body); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Dedups implements notify.Notifier.
func (r *Receiver) Dedups() bool { return r.config.Folds }

// Notify implements notify.Notifier.
func (r *Receiver) Notify(ctx context.Context, p *event.Page) (string, error) {
	d := words.DataOf(p, r.env, r.name, "http")
	if r.personal && p.Person != "" && d.Handle == "" {
		return "", notify.Personal(notify.Permanent(fmt.Errorf("%s cannot be reached by %s: write people: {%s: {handles: {%s: …}}}", p.Person, r.name, p.Person, r.name)))
	}
	f := filler{data: d, receiver: r.name}
	request := post.Request{
		Method: r.config.Method, Headers: post.Keys(p), Query: f.values(r.query),
		Statuses: r.statuses(), Check: r.config.Expect.Check(),
	}
	var err error
	if request.Body, request.ContentType, err = r.write(&f); err != nil {
		return "", notify.Permanent(err)
	}
	answer, err := r.client.Send(ctx, request)
	answer = words.Answer(answer, f.failed)
	if err != nil && f.failed != "" {
		return answer, fmt.Errorf("tell %s: %w (%s)", r.name, err, f.failed)
	}
	if err != nil {
		return answer, fmt.Errorf("tell %s: %w", r.name, err)
	}
	return answer, nil
}

func (r *Receiver) statuses() []int {
	if r.config.Expect == nil {
		return nil
	}
	return r.config.Expect.Status
}

// write makes the body and its type.
func (r *Receiver) write(f *filler) (body []byte, kind string, err error) {
	switch {
	case r.json != nil:
		body, err = json.Marshal(f.fill(r.json))
		if err != nil {
			err = fmt.Errorf("encode body: %w", err)
		}
		return body, "application/json", err
	case r.form != nil:
		return []byte(f.values(r.form).Encode()), "application/x-www-form-urlencoded", nil
	case r.body == nil:
		return nil, "", nil
	}
	kind = r.config.ContentType
	if kind == "" {
		kind = "text/plain; charset=utf-8"
	}
	text, err := r.body.Execute(f.data)
	if err == nil && isJSON(kind) && !json.Valid([]byte(text)) {
		err = errNotJSON
	}
	if err == nil {
		return []byte(text), kind, nil
	}
	return f.instead(kind, err), kind, nil
}

func isJSON(kind string) bool {
	kind, _, _ = mime.ParseMediaType(kind)
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// usesHandle reports whether a template addresses the page's person.
func usesHandle(c Config) bool {
	var in func(v any) bool
	in = func(v any) bool {
		switch v := v.(type) {
		case string:
			return strings.Contains(v, ".Handle")
		case []any:
			return slices.ContainsFunc(v, in)
		case map[string]any:
			for _, v := range v {
				if in(v) {
					return true
				}
			}
		}
		return false
	}
	return in(c.JSON) || in(c.Body) || in(fields(c.Form)) || in(fields(c.Query))
}

// fields are texts as a tree; nil when there are none.
func fields(of map[string]string) any {
	if len(of) == 0 {
		return nil
	}
	all := make(map[string]any, len(of))
	for name, text := range of {
		all[name] = text
	}
	return all
}

// values fills in a form or a query.
func (f *filler) values(tree any) url.Values {
	if tree == nil {
		return nil
	}
	all := url.Values{}
	for name, v := range f.fill(tree).(map[string]any) {
		all.Set(name, fmt.Sprint(v))
	}
	return all
}
