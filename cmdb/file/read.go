package file

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
)

// document is one file.
type document struct {
	At      conf.Pos
	Classes map[string]class
	Targets []target
}

// class is what targets of one class have in common.
type class struct {
	At     conf.Pos
	Checks []source.Check
	Labels map[string]source.Text
	Team   source.Text

	resolved []event.Check
}

// target is one target as it is written.
type target struct {
	At        conf.Pos
	ID        source.Text
	Class     source.Text
	Address   source.Text
	Team      source.Text
	Labels    map[string]source.Text
	Checks    *[]source.Check
	Relations relations
	Lifecycle source.Text
}

// read turns the files of one source into targets; classes are shared between the files.
func read(names []string, contents map[string][]byte, judge *source.Judge) ([]source.Found, conf.Problems) {
	r := &reader{judge: judge, classes: map[string]*class{}, words: map[string]string{}}
	var documents []document
	for _, name := range names {
		documents = append(documents, r.parse(name, contents[name])...)
	}
	for i := range documents {
		for _, name := range slices.Sorted(maps.Keys(documents[i].Classes)) {
			c := documents[i].Classes[name]
			r.class(name, &c)
		}
	}
	r.classNames = slices.Sorted(maps.Keys(r.classes))
	var found []source.Found
	for i := range documents {
		for k := range documents[i].Targets {
			found = append(found, r.target(&documents[i].Targets[k]))
		}
	}
	if r.blind {
		return nil, r.problems
	}
	return found, r.problems
}

// reader collects what the files of one source say.
type reader struct {
	judge      *source.Judge
	classes    map[string]*class
	classNames []string
	problems   conf.Problems
	words      map[string]string
	blind      bool // targets may be there that could not be seen
}

func (r *reader) complain(problems ...conf.Problem) { r.problems = append(r.problems, problems...) }

// word returns s without keeping the file's text alive, and equal words as one.
func (r *reader) word(s string) string {
	if known, ok := r.words[s]; ok {
		return known
	}
	s = strings.Clone(s)
	r.words[s] = s
	return s
}

func (r *reader) parse(name string, data []byte) []document {
	nodes, problems := conf.Parse(name, data)
	r.complain(problems...)
	r.blind = r.blind || len(nodes) == 0
	var documents []document
	said := false
	for _, n := range nodes {
		if n.Kind() == conf.Null {
			continue
		}
		var d document
		problems := n.Into(&d)
		r.complain(problems...)
		documents = append(documents, d)
		// `targets: []` is an answer, a missing or empty key is more likely a file that was cut off.
		targets := n.Get("targets").Kind()
		r.blind = r.blind || n.Kind() != conf.Map || targets == conf.Scalar || targets == conf.Map
		said = said || len(problems) > 0 || targets == conf.List || len(d.Classes) > 0
	}
	if !said && len(problems) == 0 {
		at := conf.Pos{File: name, Line: 1, Column: 1}
		r.complain(at.Problem("the file has no targets", "add targets, write targets: [] if there are none, or remove the file"))
	}
	return documents
}

func (r *reader) class(name string, c *class) {
	if first := r.classes[name]; first != nil {
		r.complain(
			first.At.Problem(fmt.Sprintf("the class %q is described twice, again at %s", name, place(c.At)), "keep one of the two"),
			c.At.Problem(fmt.Sprintf("the class %q is described twice, first at %s", name, place(first.At)), "keep one of the two"))
		return
	}
	r.classes[name] = c
	r.complain(source.Name(c.At, "class", name)...)
	if name == event.CanaryClass {
		r.complain(c.At.Problem(fmt.Sprintf("the class %q is Kemi's own", name), "choose another name"))
	}
	if c.Team.Given() {
		r.complain(r.judge.Team(c.Team.At, c.Team.Text)...)
	}
	r.labels(c.Labels)
	var problems conf.Problems
	c.resolved, problems = source.Resolve(c.Checks, r.judge)
	r.complain(problems...)
}

func (r *reader) labels(labels map[string]source.Text) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		value := labels[name]
		r.complain(source.Label(value.At, name)...)
		if name == "zone" && value.Text != "" {
			r.complain(r.judge.Zone(value.At, value.Text)...)
		}
	}
}

func place(at conf.Pos) string { return fmt.Sprintf("%s:%d:%d", at.File, at.Line, at.Column) }

// target judges one target and adds what its class gives it.
func (r *reader) target(t *target) source.Found {
	out := &event.Target{
		ID: strings.Clone(t.ID.Text), Class: r.word(t.Class.Text), Address: strings.Clone(t.Address.Text),
		Team: "default", Lifecycle: event.Active, Source: fmt.Sprintf("file:%s:%d", t.At.File, t.At.Line),
	}
	at := t.ID.At
	if !t.ID.Given() {
		at = t.At
		r.complain(t.At.Problem("the target has no id", "add id: with a name that no other target has"))
	} else {
		r.complain(source.Name(at, "target", out.ID)...)
	}
	switch {
	case !t.Address.Given():
		r.complain(at.Problem(fmt.Sprintf("the target %q has no address", out.ID), "add address: with a host name, an IP address or a URL"))
	default:
		r.complain(source.Address(t.Address.At, out.Address)...)
	}

	c := r.classes[out.Class]
	switch {
	case !t.Class.Given():
		r.complain(at.Problem(fmt.Sprintf("the target %q has no class", out.ID), "add class: with one of the names under classes"))
	case c == nil:
		r.complain(source.Class(t.Class.At, out.Class, r.classNames)...)
	}
	if c == nil {
		c = &class{}
	}

	switch {
	case t.Team.Given():
		r.complain(r.judge.Team(t.Team.At, t.Team.Text)...)
		out.Team = r.word(t.Team.Text)
	case c.Team.Given():
		out.Team = r.word(c.Team.Text)
	}
	if t.Lifecycle.Given() {
		out.Lifecycle = event.Lifecycle(r.word(t.Lifecycle.Text))
		r.complain(lifecycle(t.Lifecycle)...)
	}
	r.labels(t.Labels)
	out.Labels = r.merge(c.Labels, t.Labels)
	out.Checks = c.resolved
	if t.Checks != nil {
		var problems conf.Problems
		out.Checks, problems = source.Resolve(*t.Checks, r.judge)
		r.complain(problems...)
	}
	var refs []source.Ref
	out.Relations, refs = t.Relations.resolve()
	return source.Found{Target: out, At: at, Refs: refs}
}

// merge gives the class's labels and over them the target's; an empty value takes a label away.
func (r *reader) merge(common, own map[string]source.Text) map[string]string {
	out := make(map[string]string, len(common)+len(own))
	for _, labels := range []map[string]source.Text{common, own} {
		for name, value := range labels {
			out[r.word(name)] = r.word(value.Text)
		}
	}
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	if len(out) == 0 {
		return nil
	}
	return out
}

func lifecycle(t source.Text) conf.Problems {
	all := []string{string(event.Active), string(event.Maintenance), string(event.Retired)}
	if slices.Contains(all, t.Text) {
		return nil
	}
	do := "write active, maintenance (polled, and pages are held back) or retired (not polled)"
	if near := conf.Nearest(t.Text, all); near != "" {
		do = fmt.Sprintf("did you mean %q?", near)
	}
	return conf.Problems{t.At.Problem(fmt.Sprintf("there is no lifecycle %q", t.Text), do)}
}
