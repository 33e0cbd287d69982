package demo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/app"
	"kemi.dev/kemi/cmd/kemi/view"
)

// Summary is what the demo did, counted from the topics when it ends.
type Summary struct {
	Targets  int `json:"targets"`
	Polls    int `json:"polls"`
	Readings int `json:"readings"`
	Findings int `json:"findings"`
	// Incidents that people can look up in the end, resolved ones included.
	Incidents int    `json:"incidents"`
	Pages     []Page `json:"pages"`
	// Silenced are targets with an incident that nobody was called for while it was there, because of a silence.
	Silenced []string `json:"silenced,omitempty"`
	// Acknowledged is what the link said to whoever pressed its button.
	Acknowledged string `json:"acknowledged,omitempty"`
	// LostJobs were due and have no outcome, or came too late to be run.
	LostJobs int `json:"lost_jobs"`
}

// Page is a page that was sent.
type Page struct {
	Kind       event.PageKind `json:"kind"`
	Team       string         `json:"team"`
	Receiver   string         `json:"receiver"`
	Person     string         `json:"person,omitempty"`
	Cause      string         `json:"cause"`
	Title      string         `json:"title"`
	Suppressed map[string]int `json:"suppressed,omitempty"`
	Sent       time.Time      `json:"sent"`
	// After is when it was sent, in seconds since the demo's clock began.
	After float64 `json:"after_s"`
	// Announced is when the page said that somebody else would be called.
	Announced time.Time `json:"announced,omitzero"`
}

// sent lists the pages that were sent, in their order.
func (d *demo) sent() []Page {
	all := []Page{}
	d.app.Model().Read(func(state *view.State) {
		for _, p := range state.Pages(view.Filter{State: string(event.PageSent)}) {
			page := Page{
				Kind: p.Kind, Team: p.Team, Receiver: p.Receiver, Person: p.Person, Title: p.Title,
				Sent: p.Updated, After: p.Updated.Sub(d.began).Seconds(),
			}
			if i := p.Snapshot; i != nil {
				page.Cause, page.Suppressed = i.Cause, i.Suppressed
				if i.Next != nil {
					page.Announced = i.Next.At
				}
			}
			all = append(all, page)
		}
	})
	slices.SortStableFunc(all, func(a, b Page) int { return a.Sent.Compare(b.Sent) })
	return all
}

var errCaughtUp = errors.New("caught up")

// everything hands over all that is stored on a topic.
func everything(ctx context.Context, b *bus.Bus, topic string, handle func(event.Event)) error {
	end := time.Now()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	// A marker of our own would be seen by others: the topic is quiet or not, so stop at the first newer record or
	// when nothing more comes.
	idle := time.AfterFunc(time.Second, cancel)
	err := b.Tail(ctx, topic, bus.From{}, func(batch []bus.Raw) error {
		idle.Reset(time.Second)
		for _, raw := range batch {
			if raw.Stored.After(end) {
				return errCaughtUp
			}
			if e, err := event.Parse(topic, raw.Value); err == nil {
				handle(e)
			}
		}
		return nil
	})
	if errors.Is(err, errCaughtUp) {
		return nil
	}
	return err
}

// audit counts from the topics: every job is looked up by its identity.
func audit(ctx context.Context, a *app.App) (Summary, error) {
	b, m := a.Bus(), a.Model()
	var s Summary
	m.Read(func(state *view.State) {
		s.Targets = len(state.Targets(view.Filter{}))
		s.Incidents = len(state.Incidents(view.Filter{}))
	})
	canary := func(target string) bool { return target == event.CanaryTarget }
	now := time.Now()
	due := map[string]bool{}
	if err := everything(ctx, b, event.JobsTopic("").Name, func(e event.Event) {
		if j, ok := e.(*event.Job); ok && j.Deadline.Before(now) && !canary(j.Target) {
			due[j.Identity()] = true
		}
	}); err != nil {
		return s, err
	}
	if err := everything(ctx, b, (&event.Reading{}).Topic().Name, func(e event.Event) {
		r, ok := e.(*event.Reading)
		if !ok || canary(r.Target) {
			return
		}
		s.Readings++
		if r.Status.Asked() {
			s.Polls++
			delete(due, r.JobID)
		}
	}); err != nil {
		return s, err
	}
	s.LostJobs = len(due)
	return s, everything(ctx, b, (&event.Finding{}).Topic().Name, func(e event.Event) {
		if f, ok := e.(*event.Finding); ok && !strings.HasPrefix(f.Rule, event.RuleCanary) {
			s.Findings++
		}
	})
}
