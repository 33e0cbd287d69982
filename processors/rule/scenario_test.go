package rule_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/processors/alert"
	"kemi.dev/kemi/processors/rule"
)

var update = flag.Bool("update", false, "write what the scenarios say now")

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// A scenario is a script in virtual time. Its commands:
//
//	rules … end                     the rules, a rule file; given again, they are reloaded
//	reading AT TARGET/CHECK STATUS [every=10s] [cause=verify] [by=ID] [started=+2s] [booted=AT] [label=value …]
//	  name{index=value,…}=V …       a row's values below it, c: before V makes it a counter
//	remove AT TARGET                the target leaves the CMDB
//	restart AT                      kill -9 and start again from what was saved
//	twice                           the last reading is delivered again
//
// Lines that begin with > are what follows: findings, then the alerts that follow from them.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(data))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(strings.Split(string(data), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// player plays one scenario.
type player struct {
	t      *testing.T
	rules  string
	set    *rule.Set
	desk   *rule.Desk
	alerts *alert.Desk
	last   *event.Reading
}

func play(t *testing.T, script string) string {
	p := &player{t: t, alerts: alert.NewDesk()}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSuffix(script, "\n"), "\n"), func(l string) bool { return strings.HasPrefix(l, ">") })
	var out strings.Builder
	for i := 0; i < len(lines); {
		end := i + 1
		first := strings.Fields(lines[i])
		if len(first) > 0 {
			switch first[0] {
			case "rules":
				for end < len(lines) && lines[end-1] != "end" {
					end++
				}
			case "reading":
				for end < len(lines) && strings.HasPrefix(lines[end], "  ") {
					end++
				}
			}
			p.command(first, lines[i:end])
		}
		for _, l := range lines[i:end] {
			out.WriteString(l + "\n")
		}
		for _, l := range p.said() {
			out.WriteString("> " + l + "\n")
		}
		i = end
	}
	return out.String()
}

func (p *player) command(words, lines []string) {
	switch words[0] {
	case "#":
	case "rules":
		p.rules = strings.Join(lines[1:len(lines)-1], "\n")
		set, problems := rule.Parse("rules.yaml", []byte(p.rules))
		if err := problems.Err(); err != nil {
			p.t.Fatal(err)
		}
		if p.set = set; p.desk == nil {
			p.desk = rule.NewDesk(set)
		} else {
			p.desk.Reload(set, p.at(words[1]))
		}
	case "reading":
		p.last = p.reading(words, lines[1:])
		p.desk.Reading(p.last)
	case "twice":
		p.desk.Reading(p.last)
	case "remove":
		p.desk.Remove(words[2], p.at(words[1]))
	case "restart":
		p.restart(p.at(words[1]))
	default:
		p.t.Fatalf("no such command: %s", words[0])
	}
}

func (p *player) restart(now time.Time) {
	buckets, err := p.desk.Save(p.desk.Dirty(true), 0)
	if err != nil {
		p.t.Fatal(err)
	}
	p.desk = rule.NewDesk(p.set)
	for _, data := range buckets {
		if _, err := p.desk.Load(data, now); err != nil {
			p.t.Fatal(err)
		}
	}
	p.desk.SayAgain()
}

func (p *player) at(s string) time.Time {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return epoch.Add(d)
}

func (p *player) reading(words, rows []string) *event.Reading {
	target, check, _ := strings.Cut(words[2], "/")
	slot := p.at(words[1])
	r := &event.Reading{
		Target: target, Check: check, Kind: check, Status: event.Status(words[3]), Cause: event.CauseSchedule, Slot: slot, Started: slot,
		Interval: 10 * time.Second, Duration: 5 * time.Millisecond,
	}
	ls := map[string]string{"target": target, "class": "switch", "team": "network"}
	for _, w := range words[4:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "every":
			r.Interval = p.at(value).Sub(epoch)
		case "cause":
			r.Cause, r.Interval = event.Cause(value), 0
		case "by":
			r.AskedBy = value
		case "started":
			r.Started = slot.Add(p.at(strings.TrimPrefix(value, "+")).Sub(epoch))
		case "booted":
			r.Booted = p.at(value)
		default:
			ls[name] = value
		}
	}
	r.Labels = event.LabelsOf(ls)
	r.JobID = fmt.Sprintf("%s/%s@%s%s", target, check, words[1], r.AskedBy)
	for _, row := range rows {
		r.Tables = append(r.Tables, p.table(strings.Fields(row))...)
	}
	return r
}

// table makes a table of one row for each word like name{index=value}=V.
func (p *player) table(words []string) []event.Table {
	var out []event.Table
	for _, w := range words {
		head, value, _ := strings.Cut(w, "}=")
		name, index, _ := strings.Cut(head, "{")
		t := event.Table{Name: w, Rows: 1, Columns: []event.Column{{Name: name, Kind: event.Gauge}}}
		for _, ix := range strings.Split(index, ",") {
			n, v, _ := strings.Cut(ix, "=")
			t.Index = append(t.Index, event.IndexColumn{Name: n, Values: []string{v}})
		}
		number, counter := strings.CutPrefix(value, "c:")
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			p.t.Fatalf("%s: %v", w, err)
		}
		t.Columns[0].Gauges = []float64{v}
		if counter {
			t.Columns[0] = event.Column{Name: name, Kind: event.Counter, Counters: []uint64{uint64(v)}}
		}
		t.Name = "rows-" + head // A layout of its own for each row.
		out = append(out, t)
	}
	return out
}

func (p *player) said() []string {
	if p.desk == nil {
		return nil
	}
	var out, alerts []string
	for _, f := range p.desk.Findings() {
		out = append(out, fmt.Sprintf("%s %s %s %s value=%.4g since=%s %s%s", f.At.Sub(epoch), f.Verdict, f.Rule, briefly(f.Labels), f.Value, f.Since.Sub(epoch), f.Reason.Code, aside(f)))
		if a := p.alerts.Finding(f); a != nil {
			alerts = append(alerts, fmt.Sprintf("%s ALERT %s %s %s unknown=%v starts=%s %s", a.Updated.Sub(epoch), a.State, a.Name, briefly(a.Labels), a.Unknown, a.StartsAt.Sub(epoch), a.Reason.Code))
		}
	}
	return append(out, alerts...)
}

func aside(f *event.Finding) string {
	s := ""
	if f.AskedBy != "" {
		s += " by=" + f.AskedBy
	}
	if domain := f.Labels.Get(event.LabelDomain); domain != "" && f.Domain != domain {
		s += " in=" + f.Domain
	}
	if text := f.Annotations["summary"]; text != "" {
		s += fmt.Sprintf(" %q", text)
	}
	return s
}

// briefly shows labels without those that every reading of the scenarios has.
func briefly(ls event.Labels) string {
	ls = slices.DeleteFunc(slices.Clone(ls), func(l event.Label) bool { return slices.Contains([]string{"class", "team", "alertname"}, l.Name) })
	return strings.ReplaceAll(ls.String(), ", ", ",")
}
