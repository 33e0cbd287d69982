package rule

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"github.com/prometheus/common/helpers/templates"
	"github.com/prometheus/common/model"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// text is a label or annotation of a rule: plain, or a template in Prometheus' language of templates.
type text struct {
	name, source string
	// tmpl is nil when there is nothing to expand.
	tmpl *template.Template
	// clock: it asks for the time, which only an expansion knows.
	clock bool
}

// The variables that Prometheus' rules may use without a dot.
const variables = `{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}`

// facts are what a template may speak of.
type facts struct {
	Labels         map[string]string
	ExternalLabels map[string]string
	ExternalURL    string
	Value          float64
}

// errQuery is what is wrong with templates that ask the store.
var errQuery = errors.New("query is not supported: a template may only speak of its own labels and value")

func newText(name, source string) (text, error) {
	t := text{name: name, source: source}
	if !strings.Contains(source, "{{") {
		return t, nil
	}
	var err error
	t.tmpl, err = template.New(name).Funcs(functions(time.Time{})).Option("missingkey=zero").Parse(variables + source)
	if err != nil {
		if uses(source, "query") {
			err = errQuery
		}
		return t, err
	}
	t.clock = uses(source, "now")
	return t, nil
}

// uses reports whether a template calls a function.
func uses(source, function string) bool {
	tree := parse.New("t")
	tree.Mode = parse.SkipFuncCheck
	tree, err := tree.Parse(variables+source, "", "", map[string]*parse.Tree{})
	if err != nil {
		return false
	}
	found := false
	var walk func(n parse.Node)
	pipe := func(p *parse.PipeNode) {
		if p != nil {
			for _, c := range p.Cmds {
				walk(c)
			}
		}
	}
	list := func(l *parse.ListNode) {
		if l != nil {
			for _, c := range l.Nodes {
				walk(c)
			}
		}
	}
	branch := func(b *parse.BranchNode) { pipe(b.Pipe); list(b.List); list(b.ElseList) }
	walk = func(n parse.Node) {
		switch n := n.(type) {
		case *parse.ListNode:
			list(n)
		case *parse.ActionNode:
			pipe(n.Pipe)
		case *parse.PipeNode:
			pipe(n)
		case *parse.CommandNode:
			for _, a := range n.Args {
				walk(a)
			}
		case *parse.IdentifierNode:
			found = found || n.Ident == function
		case *parse.IfNode:
			branch(&n.BranchNode)
		case *parse.RangeNode:
			branch(&n.BranchNode)
		case *parse.WithNode:
			branch(&n.BranchNode)
		case *parse.TemplateNode:
			pipe(n.Pipe)
		}
	}
	list(tree.Root)
	return found
}

// expand fills the template in. When that fails the source is better than nothing.
func (t *text) expand(f *facts, now time.Time) (string, error) {
	if t.tmpl == nil {
		return t.source, nil
	}
	tmpl := t.tmpl
	if t.clock {
		clone, err := tmpl.Clone()
		if err != nil {
			return t.source, fmt.Errorf("expand %s: %w", t.name, err)
		}
		tmpl = clone.Funcs(functions(now))
	}
	var b strings.Builder
	if err := execute(tmpl, &b, f); err != nil {
		return t.source, fmt.Errorf("expand %s: %w", t.name, err)
	}
	return b.String(), nil
}

// execute fills a template in; a function that panics is a failure of the template, not of Kemi.
func execute(t *template.Template, b *strings.Builder, f *facts) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return t.Execute(b, f)
}

// functions are those of Prometheus' templates that need nothing but their arguments.
// Source: https://prometheus.io/docs/prometheus/latest/configuration/template_reference/
func functions(now time.Time) template.FuncMap {
	return template.FuncMap{
		"args": func(args ...any) map[string]any {
			m := make(map[string]any, len(args))
			for i, a := range args {
				m[fmt.Sprintf("arg%d", i)] = a
			}
			return m
		},
		"reReplaceAll": func(pattern, with, in string) (string, error) {
			re, err := regexp.Compile(pattern)
			if err != nil {
				return "", err
			}
			return re.ReplaceAllString(in, with), nil
		},
		"match":              regexp.MatchString,
		"safeHtml":           func(s string) string { return s },
		"title":              func(s string) string { return cases.Title(language.AmericanEnglish, cases.NoLower).String(s) },
		"toUpper":            strings.ToUpper,
		"toLower":            strings.ToLower,
		"stripPort":          stripPort,
		"stripDomain":        stripDomain,
		"humanize":           humanize,
		"humanize1024":       humanize1024,
		"humanizeDuration":   templates.HumanizeDuration,
		"humanizeTimestamp":  templates.HumanizeTimestamp,
		"humanizePercentage": percentage,
		"toTime":             toTime,
		"toDuration":         toDuration,
		"parseDuration": func(s string) (float64, error) {
			d, err := model.ParseDurationAllowNegative(s)
			return time.Duration(d).Seconds(), err
		},
		"now":            func() float64 { return float64(now.UnixMilli()) / 1000 },
		"pathPrefix":     func() string { return "" },
		"externalURL":    func() string { return "" },
		"urlQueryEscape": url.QueryEscape,
	}
}

func stripPort(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		return host
	}
	return s
}

func stripDomain(s string) string {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = s, ""
	}
	if net.ParseIP(host) != nil {
		return s
	}
	host, _, _ = strings.Cut(host, ".")
	if port != "" {
		return net.JoinHostPort(host, port)
	}
	return host
}

// scaled divides or multiplies v into the range below base and appends the prefix of what that took.
func scaled(v, base float64, large, small []string) string {
	prefix := ""
	if math.Abs(v) >= 1 {
		for _, p := range large {
			if math.Abs(v) < base {
				break
			}
			prefix = p
			v /= base
		}
	} else {
		for _, p := range small {
			if math.Abs(v) >= 1 {
				break
			}
			prefix = p
			v *= base
		}
	}
	return fmt.Sprintf("%.4g%s", v, prefix)
}

func humanize(i any) (string, error) {
	v, err := templates.ConvertToFloat(i)
	if err != nil || v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Sprintf("%.4g", v), err
	}
	return scaled(v, 1000, []string{"k", "M", "G", "T", "P", "E", "Z", "Y"}, []string{"m", "u", "n", "p", "f", "a", "z", "y"}), nil
}

func humanize1024(i any) (string, error) {
	v, err := templates.ConvertToFloat(i)
	if err != nil || math.Abs(v) <= 1 || math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Sprintf("%.4g", v), err
	}
	return scaled(v, 1024, []string{"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"}, nil), nil
}

func percentage(i any) (string, error) {
	v, err := templates.ConvertToFloat(i)
	return fmt.Sprintf("%.4g%%", v*100), err
}

func toTime(i any) (*time.Time, error) {
	v, err := templates.ConvertToFloat(i)
	switch {
	case err != nil:
		return nil, err
	case math.IsNaN(v) || math.Abs(v) > math.MaxInt64/1e9:
		return nil, fmt.Errorf("%v is no time", v)
	}
	t := time.Unix(0, int64(v*1e9)).UTC()
	return &t, nil
}

func toDuration(i any) (*time.Duration, error) {
	v, err := templates.ConvertToFloat(i)
	if err != nil {
		return nil, err
	}
	d := time.Duration(v * float64(time.Second))
	return &d, nil
}
