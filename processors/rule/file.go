package rule

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/processors/rule/expr"
)

// What a rule file holds, as Prometheus has it. Scalars are kept as nodes, for their places.
type file struct {
	Groups []group `yaml:"groups"`
}

type group struct {
	Pos         conf.Pos
	Name        string               `yaml:"name"`
	Interval    conf.Node            `yaml:"interval"`
	Limit       conf.Node            `yaml:"limit"`
	QueryOffset conf.Node            `yaml:"query_offset"`
	Labels      map[string]conf.Node `yaml:"labels"`
	Rules       []entry              `yaml:"rules"`
}

type entry struct {
	Pos           conf.Pos
	Alert         conf.Node            `yaml:"alert"`
	Record        conf.Node            `yaml:"record"`
	Expr          conf.Node            `yaml:"expr"`
	For           conf.Node            `yaml:"for"`
	KeepFiringFor conf.Node            `yaml:"keep_firing_for"`
	Labels        map[string]conf.Node `yaml:"labels"`
	Annotations   map[string]conf.Node `yaml:"annotations"`
	Kemi          additions            `yaml:"kemi"`
}

// additions are Kemi's own keys of a rule. There are none yet.
type additions struct{}

// Load reads the rule files that match the patterns, which are relative to dir. The set holds every rule that is
// right, also when there are problems, so that a caller can go on and find more.
func Load(globs []string, dir string) (*Set, conf.Problems) {
	l := loader{}
	for _, g := range globs {
		pattern := g
		if !filepath.IsAbs(g) {
			pattern = filepath.Join(dir, g)
		}
		names, err := filepath.Glob(pattern)
		switch {
		case err != nil:
			l.problems = append(l.problems, conf.Problem{File: pattern, What: "this is no file pattern (" + err.Error() + ")", Do: "write a path, * standing for any name"})
		case len(names) > 0:
		case strings.ContainsAny(g, "*?["):
			// Not an answer: no rules would resolve every alert.
			l.problems = append(l.problems, conf.Problem{What: "no file matches " + pattern, Do: "correct the pattern, or take it away"})
		default:
			names = []string{pattern} // Reading it says what is wrong.
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				what, do := "the file cannot be read ("+err.Error()+")", "give the path of a readable rule file"
				if os.IsNotExist(err) {
					what, do = "there is no such file", "check the path under rules, or create the file"
				}
				l.problems = append(l.problems, conf.Problem{File: name, What: what, Do: do})
				continue
			}
			l.parse(name, data)
		}
	}
	return l.set()
}

// LoadFS is Load for rule files within a file system, such as those that are shipped in the binary.
func LoadFS(fsys fs.FS, globs ...string) (*Set, conf.Problems) {
	l := loader{}
	for _, g := range globs {
		names, err := fs.Glob(fsys, g)
		if err != nil || len(names) == 0 {
			l.problems = append(l.problems, conf.Problem{File: g, What: "there is no such file", Do: "check the pattern"})
		}
		for _, name := range names {
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				l.problems = append(l.problems, conf.Problem{File: name, What: "the file cannot be read (" + err.Error() + ")", Do: "check the file"})
				continue
			}
			l.parse(name, data)
		}
	}
	return l.set()
}

// Parse reads one rule file from memory.
func Parse(name string, data []byte) (*Set, conf.Problems) {
	l := loader{}
	l.parse(name, data)
	return l.set()
}

// loader collects the rules of many files.
type loader struct {
	source   string // of the file being read
	rules    []*Rule
	problems conf.Problems
	seen     map[string]conf.Pos // rules by what makes their alerts the same
	read     map[string]bool
}

func (l *loader) set() (*Set, conf.Problems) {
	if err := l.problems.Err(); err != nil {
		l.problems = err.(conf.Problems)
	}
	return newSet(l.rules), l.problems
}

func (l *loader) complain(at interface {
	Problem(what, do string) conf.Problem
}, what, do string,
) {
	l.problems = append(l.problems, at.Problem(what, do))
}

func (l *loader) parse(name string, data []byte) {
	if l.read == nil {
		l.read, l.seen = map[string]bool{}, map[string]conf.Pos{}
	}
	if l.read[name] { // Two patterns may match one file.
		return
	}
	l.read[name] = true
	l.source = strings.TrimPrefix(string(data), "\xef\xbb\xbf")
	docs, problems := conf.ParseRaw(name, data)
	l.problems = append(l.problems, problems...)
	groups := map[string]conf.Pos{}
	for _, doc := range docs {
		if doc.Kind() == conf.Null {
			continue
		}
		var f file
		l.problems = append(l.problems, doc.Into(&f)...)
		for i := range f.Groups {
			g := &f.Groups[i]
			if g.Pos.Line == 0 {
				continue // It is no mapping, which was said.
			}
			if g.Name == "" {
				l.complain(g.Pos, "a group without a name", "add name: to it")
			} else if first, twice := groups[g.Name]; twice {
				l.complain(g.Pos, fmt.Sprintf("the group %q is given twice, first on line %d", g.Name, first.Line), "give it another name")
			}
			groups[g.Name] = g.Pos
			l.group(g)
		}
	}
}

func (l *loader) group(g *group) {
	l.duration(g.Interval, "interval") // Checked only: a rule is evaluated whenever a reading arrives.
	if d := l.duration(g.QueryOffset, "query_offset"); d != 0 {
		l.complain(g.QueryOffset, "query_offset is not supported: rules see each reading when it arrives", "remove it")
	}
	if !g.Limit.IsZero() && g.Limit.Text() != "0" {
		l.complain(g.Limit, "limit is not supported", "remove it: a storm is summarised, never cut")
	}
	for i := range g.Rules {
		l.rule(g, &g.Rules[i])
	}
}

func (l *loader) rule(g *group, e *entry) {
	before := len(l.problems)
	switch {
	case e.Pos.Line == 0:
		return // It is no mapping, which was said.
	case !e.Record.IsZero():
		l.complain(e.Record, "recording rules are not supported yet", "let Prometheus evaluate this rule on Kemi's series")
		return
	case e.Alert.Text() == "":
		l.complain(e.Pos, "a rule without a name", "add alert: to it")
	case e.Expr.Text() == "":
		l.complain(e.Pos, fmt.Sprintf("the rule %s has no expression", e.Alert.Text()), "add expr: to it, like expr: up == 0")
	}
	r := &Rule{
		Group: g.Name, Alert: e.Alert.Text(), Name: g.Name + "/" + e.Alert.Text(), Expr: e.Expr.Text(), Pos: e.Pos,
		For: l.duration(e.For, "for"), KeepFiringFor: l.duration(e.KeepFiringFor, "keep_firing_for"),
	}
	all := maps.Clone(g.Labels)
	if all == nil {
		all = map[string]conf.Node{}
	}
	maps.Copy(all, e.Labels)
	r.labels = l.texts(all, "label")
	r.annotations = l.texts(e.Annotations, "annotation")
	if r.Expr != "" {
		if r.program = l.expression(e.Expr); r.program != nil {
			r.threshold = r.program.Threshold()
		}
	}
	if len(l.problems) > before {
		return
	}
	r.finish()
	if first, twice := l.seen[r.key]; twice {
		l.complain(e.Pos, fmt.Sprintf("the rule %s with the same labels is given twice, first in %s line %d", r.Name, first.File, first.Line),
			"give it another name or another label: their alerts could not be told apart")
		return
	}
	l.seen[r.key] = e.Pos
	l.rules = append(l.rules, r)
}

// expression parses the PromQL and says where in the file it is wrong.
func (l *loader) expression(n conf.Node) *expr.Program {
	p, problems := expr.Parse(n.Text())
	for _, one := range problems {
		l.complain(place(l.source, n.Pos(), n.Text(), one.Offset), one.What, one.Do)
	}
	return p
}

// duration reads a duration as Prometheus writes it: 30s, 5m, 1h30m, 1d.
func (l *loader) duration(n conf.Node, key string) time.Duration {
	if n.IsZero() || n.Kind() == conf.Null {
		return 0
	}
	d, err := model.ParseDuration(n.Text())
	if err != nil || n.Kind() != conf.Scalar {
		l.complain(n, fmt.Sprintf("expected a duration for %q, got %q", key, n.Text()), "write it like 30s, 5m or 1h30m")
	}
	return time.Duration(d)
}

// texts reads labels or annotations, sorted by name.
func (l *loader) texts(from map[string]conf.Node, what string) []text {
	out := make([]text, 0, len(from))
	for _, name := range slices.Sorted(maps.Keys(from)) {
		n := from[name]
		if !model.LegacyValidation.IsValidLabelName(name) || name == "__name__" || (what == "label" && name == "alertname") {
			l.complain(n, fmt.Sprintf("%q cannot be the name of a %s", name, what), "use letters, digits and _, and not alertname or __name__")
			continue
		}
		if n.Kind() == conf.List || n.Kind() == conf.Map {
			l.complain(n, fmt.Sprintf("expected text for the %s %q", what, name), "write a single value")
			continue
		}
		t, err := newText(name, n.Text())
		if err != nil {
			l.complain(n, fmt.Sprintf("the template of the %s %q cannot be used (%s)", what, name, templateTrouble(err)), "correct the template")
		}
		out = append(out, t)
	}
	return out
}

// templateTrouble shortens the error of a template: the place in it counts from the text's first line.
func templateTrouble(err error) string {
	return strings.TrimPrefix(err.Error(), "template: ")
}
