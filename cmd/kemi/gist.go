package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/api"
)

// gist says in one line what an event says, for people.
func gist(l *api.Line) string {
	switch {
	case l.Letter != nil:
		return letterGist(l.Letter)
	case l.Done != nil:
		return doneGist(l.Done, l.Letters)
	case l.Removed:
		return "removed"
	case l.Topic == bus.TopicState:
		return fmt.Sprintf("%d bytes of what a group knows", len(l.Bytes))
	case l.Unreadable != "":
		return fmt.Sprintf("unreadable: %s (%d bytes)", l.Unreadable, len(l.Bytes))
	}
	data := l.Event
	var ce struct{ Data json.RawMessage }
	if json.Unmarshal(data, &ce) == nil && ce.Data != nil {
		data = ce.Data
	}
	if say := gists[strings.SplitN(l.Topic, ".", 2)[0]]; say != nil {
		if text, err := say(data); err == nil {
			return text
		}
	}
	return string(data)
}

// of makes a gist of a word's JSON.
func of[T any](say func(*T) []string) func(json.RawMessage) (string, error) {
	return func(data json.RawMessage) (string, error) {
		v := new(T)
		if err := json.Unmarshal(data, v); err != nil {
			return "", err
		}
		var said []string
		for _, word := range say(v) {
			if word != "" {
				said = append(said, word)
			}
		}
		return strings.Join(said, "  "), nil
	}
}

// polled is what jobs and readings have in common as JSON.
type polled struct {
	Target, Check, Kind, Address string
	Status                       event.Status
	Message                      string
	Cause                        event.Cause
	Slot, Deadline               time.Time
	DurationMS                   float64 `json:"duration_ms"`
	Tables                       []struct {
		Name string
		Rows []struct{}
	}
}

// gists are by the first part of the topic's name.
var gists = map[string]func(json.RawMessage) (string, error){
	"targets": of(func(t *event.Target) []string {
		return []string{t.Class, t.Address, "team " + t.Team, fmt.Sprintf("%d checks", len(t.Checks)), string(t.Lifecycle)}
	}),
	"jobs": of(func(j *polled) []string {
		return []string{j.Check, j.Address, "due " + clock(j.Slot), "until " + clock(j.Deadline), unless(string(j.Cause), string(event.CauseSchedule))}
	}),
	"readings": of(func(r *polled) []string {
		var tables []string
		for _, t := range r.Tables {
			tables = append(tables, fmt.Sprintf("%s (%d)", t.Name, len(t.Rows)))
		}
		took := time.Duration(r.DurationMS * float64(time.Millisecond)).Round(100 * time.Microsecond)
		return []string{r.Check, string(r.Status), took.String(), strings.Join(tables, ", "), r.Message, unless(string(r.Cause), string(event.CauseSchedule))}
	}),
	"again": of(func(r *bus.Redelivery) []string {
		return []string{r.Why, "for " + r.For, r.Of, r.ItsKey}
	}),
	"findings": of(func(f *event.Finding) []string {
		return []string{string(f.Verdict), f.Rule, f.Target, "since " + clock(f.Since), f.Reason.Text}
	}),
	"alerts": of(func(a *event.Alert) []string {
		return []string{string(a.State), a.Name, a.Target, a.Severity, a.Annotations["summary"], a.Reason.Code}
	}),
	"incidents": of(func(i *event.Incident) []string {
		explains := ""
		if i.SuppressedTotal > 0 {
			explains = fmt.Sprintf("explains %d more", i.SuppressedTotal)
		}
		return []string{string(i.State), i.Cause, "team " + i.Team, i.Title, explains, i.Reason.Code}
	}),
	"pages": of(func(p *event.Page) []string {
		return []string{string(p.Stage), string(p.Kind), "to " + p.Receiver, p.Title, unless(fmt.Sprint(p.Attempts, " attempts"), "1 attempts"), p.Response}
	}),
	"commands": of(func(c *event.Command) []string {
		by := ""
		if c.By != "" {
			by = "by " + c.By
		}
		return []string{string(c.Kind), c.Subject, by, c.Comment}
	}),
	"silences": of(func(s *event.Silence) []string {
		var matchers []string
		for _, m := range s.Matchers {
			sign := map[[2]bool]string{{false, false}: "=", {false, true}: "!=", {true, false}: "=~", {true, true}: "!~"}[[2]bool{m.Regex, m.Negative}]
			matchers = append(matchers, m.Name+sign+strconv.Quote(m.Value))
		}
		return []string{string(s.Kind), "{" + strings.Join(matchers, ",") + "}", "until " + s.EndsAt.Local().Format("2006-01-02 15:04"), s.Recurs, "by " + s.By, s.Comment}
	}),
	"overrides": of(func(o *event.Override) []string {
		return []string{o.Schedule, o.Person, o.StartsAt.Local().Format("2006-01-02 15:04") + " to " + o.EndsAt.Local().Format("2006-01-02 15:04"), "by " + o.By, o.Comment}
	}),
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("15:04:05")
}

// unless is s, but nothing when it is what it nearly always is.
func unless(s, usual string) string {
	if s == usual {
		return ""
	}
	return s
}

// place names where a letter's record was.
func place(l *bus.Letter) string {
	if l.Position < 0 {
		return l.Topic
	}
	return fmt.Sprintf("%s %d/%d", l.Topic, l.Partition, l.Position)
}

func letterGist(l *bus.Letter) string {
	if l.Foreign {
		return fmt.Sprintf("letter %d: %s", l.ID, l.Reason)
	}
	return fmt.Sprintf("letter %d: from %s by %s: %s", l.ID, place(l), l.Group, l.Reason)
}

func doneGist(d *bus.Done, letters []int64) string {
	by := ""
	if d.By != "" {
		by = " by " + d.By
	}
	which := fmt.Sprintf("%d letters", len(letters))
	if len(letters) == 1 {
		which = fmt.Sprintf("letter %d", letters[0])
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s%s  %s", which, d.How, by, d.Comment))
}
