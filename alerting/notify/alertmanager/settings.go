package alertmanager

import (
	"fmt"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/config"
	amcommon "github.com/prometheus/alertmanager/config/common"
	amjira "github.com/prometheus/alertmanager/notify/jira"
	commoncfg "github.com/prometheus/common/config"

	"kemi.dev/kemi/internal/conf"
)

// number is a secret, or a text from a file, that stands for a whole number.
type number struct{ conf.Secret }

// reader reads settings as a type of Alertmanager's wants them, with places for what is wrong. What it returns consists
// of maps, lists, strings, numbers, truth values, and secrets that are revealed when a sender is made.
type reader struct {
	kind     string
	typ      reflect.Type
	problems conf.Problems
	secrets  []conf.Secret
}

// configOf is the type of the entries of a list of Alertmanager's receivers.
func configOf(list string) reflect.Type {
	fields, _ := FieldsOf(reflect.TypeFor[config.Receiver]())
	return fields[list].Elem().Elem()
}

// FieldsOf returns what can be set in a struct of Alertmanager's configuration, by key, as package yaml sees it; rest is
// the type of the values of all other keys, if there may be any.
func FieldsOf(t reflect.Type) (fields map[string]reflect.Type, rest reflect.Type) {
	fields = map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case !f.IsExported() || name == "-":
		case option == "inline" && f.Type.Kind() == reflect.Map:
			rest = f.Type.Elem()
		case option == "inline":
			inner, more := FieldsOf(f.Type)
			for key, typ := range inner {
				fields[key] = typ
			}
			if more != nil {
				rest = more
			}
		case name == "":
			fields[strings.ToLower(f.Name)] = f.Type
		default:
			fields[name] = f.Type
		}
	}
	return fields, rest
}

func (in *reader) say(n conf.Node, what, do string) {
	in.problems = append(in.problems, n.Problem(what, do))
}

func (in *reader) into(n conf.Node, v any) { in.problems = append(in.problems, n.Into(v)...) }

// settings reads a whole receiver. Two keys are Kemi's as well: timeout, which every kind has, and send_resolved.
func (in *reader) settings(n conf.Node, r *Receiver) map[string]any {
	out := in.structure(n, in.typ, true)
	if at := n.Get("timeout"); !at.IsZero() {
		in.into(at, &r.timeout)
		if r.timeout <= 0 || r.timeout > 5*time.Minute {
			in.say(at, "timeout is out of range", "use 1s to 5m")
		}
		delete(out, "timeout")
	}
	if send, ok := out["send_resolved"].(bool); ok {
		r.resolved = send
	}
	for key, why := range map[string]string{
		"update_message":      "Kemi keeps no messages to update: every page is a message of its own",
		"use_aws_http_client": "Kemi could not see what the receiver answers: use http_config with tls_config and ca_file",
	} {
		if out[key] == true {
			in.say(n.Get(key), key+" is not supported", why)
		}
	}
	return out
}

// structure reads a mapping. At the top a key x_file names the file of x, whatever x is; below, in http_config and the
// like, files are left to Alertmanager, which reads them again by itself.
func (in *reader) structure(n conf.Node, t reflect.Type, top bool) map[string]any {
	out := map[string]any{}
	if n.Kind() == conf.Null {
		return out
	}
	if n.Kind() != conf.Map {
		in.say(n, "expected a mapping, got "+n.Kind().String(), "write one \"key: value\" line for each setting")
		return out
	}
	fields, rest := FieldsOf(t)
	if top {
		fields["timeout"] = reflect.TypeFor[time.Duration]()
	}
	for _, key := range n.Keys() {
		name, at := key.Text(), n.Get(key.Text())
		base, isFile := strings.CutSuffix(name, "_file")
		_, known := fields[name]
		switch typ := fields[base]; {
		case isFile && top && typ != nil && single(typ):
			if !n.Get(base).IsZero() {
				in.say(key, fmt.Sprintf("%q and %q are both given, the other on line %d", base, name, n.Get(base).Line()), "keep one of the two")
			} else if v := in.secretFile(at, typ); v != nil {
				out[base] = v
			}
		case known && isFile:
			out[name] = in.path(at)
		case known:
			if v := in.value(at, fields[name], name); v != nil {
				out[name] = v
			}
		case rest != nil:
			out[name] = in.value(at, rest, name)
		default:
			in.unknown(key, fields)
		}
	}
	return out
}

func (in *reader) unknown(key conf.Node, fields map[string]reflect.Type) {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	do := "the known keys are " + strings.Join(names, ", ")
	if near := conf.Nearest(key.Text(), names); near != "" {
		do = fmt.Sprintf("did you mean %q?", near)
	}
	in.say(key, fmt.Sprintf("unknown key %q", key.Text()), do)
}

// single reports whether a type is written as one value.
func single(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return isText(t) || isAddress(t) || t.Kind() == reflect.Int64 && t != reflect.TypeFor[time.Duration]()
}

func isText(t reflect.Type) bool { return t.Kind() == reflect.String }

func isAddress(t reflect.Type) bool {
	return t == reflect.TypeFor[amcommon.URL]() || t == reflect.TypeFor[amcommon.SecretURL]() || t == reflect.TypeFor[commoncfg.URL]()
}

func isSecret(t reflect.Type) bool {
	return t == reflect.TypeFor[commoncfg.Secret]() || t == reflect.TypeFor[amcommon.SecretURL]() || t == reflect.TypeFor[amcommon.SecretTemplateURL]()
}

// secretFile reads what a file holds, now and again before each page.
func (in *reader) secretFile(n conf.Node, t reflect.Type) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var path string
	if in.into(n, &path); path == "" {
		return nil
	}
	s, err := conf.SecretFile(n.Pos().Path(path))
	if err != nil {
		in.say(n, err.Error(), "check the path, which is relative to the configuration file, and write the secret into the file")
		return nil
	}
	if isAddress(t) && !in.address(n, s.Reveal(), true) {
		return nil
	}
	in.secrets = append(in.secrets, s)
	if t.Kind() == reflect.Int64 {
		return number{s}
	}
	return s
}

// path reads the path of a file that Alertmanager reads.
func (in *reader) path(n conf.Node) string {
	var path string
	if in.into(n, &path); path == "" {
		return ""
	}
	path = n.Pos().Path(path)
	if file, err := os.Open(path); err != nil {
		in.say(n, err.Error(), "check the path, which is relative to the configuration file")
	} else {
		_ = file.Close()
	}
	return path
}

func (in *reader) address(n conf.Node, text string, secret bool) bool {
	if strings.Contains(text, "{{") {
		return true
	}
	u, err := url.Parse(text)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return true
	}
	shown := ""
	if !secret && !strings.Contains(text, "@") {
		shown = fmt.Sprintf(" %q", text)
	}
	in.say(n, "the address"+shown+" is not one of a web server", "write http://host/path or https://host/path")
	return false
}

// value reads one value of any type. Nothing is nil.
func (in *reader) value(n conf.Node, t reflect.Type, name string) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case isSecret(t):
		var s conf.Secret
		if in.into(n, &s); s.IsZero() || t != reflect.TypeFor[commoncfg.Secret]() && !in.address(n, s.Reveal(), true) {
			return nil
		}
		in.secrets = append(in.secrets, s)
		return s
	case isAddress(t):
		var s string
		if in.into(n, &s); s == "" || !in.address(n, s, false) {
			return nil
		}
		return s
	case isText(t), t == reflect.TypeFor[commoncfg.TLSVersion](), t == reflect.TypeFor[amjira.JiraFieldConfig]() && n.Kind() == conf.Scalar:
		var s string
		in.into(n, &s)
		in.template(n, s)
		return s
	case t.Kind() == reflect.Int64 && t != reflect.TypeFor[int64]():
		var d time.Duration
		in.into(n, &d)
		return d.String()
	case t.Kind() == reflect.Struct:
		return in.structure(n, t, false)
	case t.Kind() == reflect.Slice:
		return in.list(n, t.Elem(), name)
	case t.Kind() == reflect.Map:
		return in.mapping(n, t.Elem(), name)
	case t.Kind() == reflect.Interface:
		var v any
		in.into(n, &v)
		in.templates(n)
		return v
	default:
		v := reflect.New(t)
		in.into(n, v.Interface())
		return v.Elem().Interface()
	}
}

func (in *reader) list(n conf.Node, t reflect.Type, name string) any {
	if n.Kind() == conf.Null {
		return nil
	}
	if n.Kind() != conf.List {
		in.say(n, fmt.Sprintf("expected a list for %q, got %s", name, n.Kind()), "write [a, b] or one line \"- a\" for each entry")
		return nil
	}
	var out []any
	for _, item := range n.Items() {
		if name == "files" { // Of a header.
			out = append(out, in.path(item))
		} else {
			out = append(out, in.value(item, t, name))
		}
	}
	return out
}

func (in *reader) mapping(n conf.Node, t reflect.Type, name string) any {
	if n.Kind() == conf.Null {
		return nil
	}
	if n.Kind() != conf.Map {
		in.say(n, fmt.Sprintf("expected a mapping for %q, got %s", name, n.Kind()), "write one \"key: value\" line for each entry")
		return nil
	}
	out := map[string]any{}
	for _, key := range n.Keys() {
		out[key.Text()] = in.value(n.Get(key.Text()), t, key.Text())
	}
	return out
}

// templates looks into values that may be anything.
func (in *reader) templates(n conf.Node) {
	in.template(n, n.Text())
	for _, key := range n.Keys() {
		in.templates(n.Get(key.Text()))
	}
	for _, item := range n.Items() {
		in.templates(item)
	}
}

// template finds mistakes in a template's grammar; that it cannot be filled shows only when there is a page.
func (in *reader) template(n conf.Node, text string) {
	if !strings.Contains(text, "{{") {
		return
	}
	if err := parses(text); err != nil {
		in.say(n, "the template cannot be read: "+strings.TrimPrefix(err.Error(), "template: :"), "correct the template")
	}
}

// place finds out what an error of Alertmanager's is about: it names keys, not lines.
func (in *reader) place(n conf.Node, err error) (conf.Node, string) {
	what := cut(strings.TrimPrefix(err.Error(), "yaml: "), maxAnswer)
	what = strings.ReplaceAll(strings.ReplaceAll(what, "no global ", "no "), "_configs", "")
	words := strings.FieldsFunc(what, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') })
	at, found := n, false
	var walk func(n conf.Node)
	walk = func(n conf.Node) {
		for _, key := range n.Keys() {
			if !found && strings.Contains(key.Text(), "_") && slices.Contains(words, key.Text()) {
				at, found = key, true
			}
			walk(n.Get(key.Text()))
		}
		for _, item := range n.Items() {
			walk(item)
		}
	}
	walk(n)
	return at, "the " + in.kind + " receiver: " + what
}
