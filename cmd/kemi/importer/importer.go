// Package importer turns another tool's configuration into Kemi's. In: the text of an Alertmanager configuration. Out:
// the same as a part of kemi.yaml (receivers, route, inhibit_rules, time_intervals), a note for everything that
// could not be brought over, with its path and what to do, and the secrets that were in the text, to be written to files
// of their own. It promises that what Alertmanager itself refuses is refused in its words, that what it writes is
// understood by alerting/route and routes every alert as Alertmanager did, and that no secret is in the YAML or in a note
// unless that was asked for. It never reads or writes a file.
//
// A receiver of Kemi has one kind; a receiver of Alertmanager's with several integrations becomes several receivers,
// NAME-KIND, and the routes to it become routes to all of them.
package importer

import (
	"cmp"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"

	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/internal/conf"
)

// Options of Alertmanager.
type Options struct {
	// File is the configuration's name; relative paths in it begin at its folder.
	File string
	// OutDir is the folder of the result, where relative paths in the result begin; empty when it is not known.
	OutDir string
	// Secrets leaves secrets where they are, readable for everybody who sees the result.
	Secrets bool
}

// Result is what became of it.
type Result struct {
	// Config is YAML.
	Config []byte
	// Notes say what could not be brought over as it was, in the order of the file.
	Notes []Note
	// Secrets are the files that Config names and that hold what stood in the text itself.
	Secrets []SecretFile
}

// Note is one thing that needs a person's attention.
type Note struct {
	// Line in the file, from 1; 0 when it is about the whole.
	Line int
	// Path of the setting: receivers.network.slack_configs[0].update_message.
	Path string
	// What is the matter and what to Do.
	What, Do string
}

// String is the note on one line.
func (n Note) String() string {
	at := n.Path
	if n.Line > 0 {
		at += fmt.Sprintf(" (line %d)", n.Line)
	}
	return at + ": " + n.What + ": " + n.Do
}

// SecretFile is a secret and where the result looks for it.
type SecretFile struct {
	// Path of the file, relative to the result.
	Path string
	// Text is the secret; zero when the text said <secret> in its place.
	Text conf.Secret
	// From is the path of the setting that it stood in.
	From string
}

// asAlertmanager has the library read matchers and labels as Alertmanager does when it is started without flags. That is
// a setting of the whole process; it is the same for whoever else makes it.
var asAlertmanager = sync.OnceFunc(func() {
	compat.InitFromFlags(slog.New(slog.DiscardHandler), featurecontrol.NoopFlags{})
})

// Alertmanager converts a configuration of Alertmanager's.
func Alertmanager(text []byte, o Options) (*Result, error) {
	asAlertmanager()
	judged, err := config.Load(string(text))
	if err != nil {
		return nil, fmt.Errorf("read %s as Alertmanager does: %w", o.File, err)
	}
	nodes, problems := conf.ParseRaw(o.File, text)
	if len(problems) > 0 {
		return nil, problems
	}
	c := &converter{options: o, global: nodes[0].Get("global"), files: map[string]string{}, variables: map[string]string{}, told: map[string][]string{}}
	out := c.whole(nodes[0])
	if err := c.prune(&out, nodes[0].Get("route"), judged); err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.notes, func(a, b Note) int { return cmp.Or(a.Line-b.Line, strings.Compare(a.Path, b.Path)) })
	w := writer{dollars: true}
	w.out.WriteString(c.head())
	w.block(out, 0)
	return &Result{Config: w.out.Bytes(), Notes: c.notes, Secrets: c.secrets}, nil
}

// converter is the state of one conversion.
type converter struct {
	options          Options
	global           conf.Node
	notes            []Note
	secrets          []SecretFile
	files, variables map[string]string   // Secrets by file and by environment variable.
	told             map[string][]string // Our receivers by theirs.
	moved            bool                // A relative path was met whose beginning is not the same with us.
}

// note says something once, however many receivers inherit it.
func (c *converter) note(n conf.Node, path, what, do string) {
	if one := (Note{Line: n.Line(), Path: path, What: what, Do: do}); !slices.Contains(c.notes, one) {
		c.notes = append(c.notes, one)
	}
}

func (c *converter) whole(n conf.Node) mapping {
	var out mapping
	if at := n.Get("templates"); len(at.Items()) > 0 {
		c.note(at, "templates", "files of templates are not brought over", "where a receiver's setting says {{ template \"name\" . }} of one of them, write the text itself there; Alertmanager's own templates are there")
	}
	if receivers := c.receivers(n.Get("receivers")); len(receivers) > 0 {
		out.add("receivers", receivers)
	}
	out.add("route", c.route(n.Get("route"), "route"))
	for _, said := range route.Notes(n.Get("route")) {
		c.note(said.At, said.Path, said.What, said.Do)
	}
	if rules, ok := generic(n.Get("inhibit_rules")).([]any); ok && len(rules) > 0 {
		out.add("inhibit_rules", rules)
	}
	var intervals []any
	for _, key := range []string{"mute_time_intervals", "time_intervals"} {
		if more, ok := generic(n.Get(key)).([]any); ok {
			intervals = append(intervals, more...)
		}
		for i, named := range n.Get(key).Items() {
			for j, part := range named.Get("time_intervals").Items() {
				if at := part.Get("location"); at.Text() == "Local" {
					c.note(at, fmt.Sprintf("%s[%d].time_intervals[%d].location", key, i, j), "the machine's own timezone is another on each machine", "write its IANA name, such as Asia/Seoul")
				}
			}
		}
	}
	if len(intervals) > 0 {
		out.add("time_intervals", intervals)
	}
	for key, do := range map[string]string{
		"tracing":        "nothing takes its place: what Kemi does is in its metrics and in the reasons that its events carry",
		"event_recorder": "every alert, incident and page is an event on Kemi's topics: subscribe to alerts.v1, incidents.v1 or pages.v1",
	} {
		if at := n.Get(key); at.Kind() != conf.Null {
			c.note(at, key, "is not brought over", do)
		}
	}
	if at := c.global.Get("resolve_timeout"); !at.IsZero() && at.Text() != "5m" {
		if d, err := conf.ParseDuration(at.Text()); err == nil && d >= 10*time.Second && d <= 24*time.Hour {
			out.add("alertmanager", mapping{{key: "resolve_timeout", value: at.Text()}})
		} else {
			c.note(at, "global.resolve_timeout", "is not brought over", "it has to be from 10s to 24h; alerts of Prometheus say when they end, have other senders set endsAt")
		}
	}
	return out
}

// head is the comment at the top of the result.
func (c *converter) head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# From %s, by kemi import.\n", filepath.Base(c.options.File))
	if len(c.notes) > 0 {
		b.WriteString("#\n# What needs your attention:\n")
		for _, n := range c.notes {
			b.WriteString("# - " + strings.Join(strings.Fields(n.String()), " ") + "\n")
		}
	}
	return b.String()
}

// relocate has a relative path lead to the same file from the result's folder.
func (c *converter) relocate(path string) string {
	if path == "" || filepath.IsAbs(path) || c.options.OutDir == "" {
		return path
	}
	from, err1 := filepath.Abs(filepath.Join(filepath.Dir(c.options.File), path))
	to, err2 := filepath.Abs(c.options.OutDir)
	rel, err3 := filepath.Rel(to, from)
	if err1 != nil || err2 != nil || err3 != nil {
		return path
	}
	return rel
}
