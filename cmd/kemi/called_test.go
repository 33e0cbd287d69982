package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/app"
	"kemi.dev/kemi/cmd/kemi/config"
)

const calledYAML = `data: data
cmdb: [{file: {path: targets.yaml}}]
people:
  jo:  {ways: [pager]}
  sun: {ways: [pager]}
schedules: {network: {layers: [{people: [jo]}], secondary: [{people: [sun]}]}}
receivers: {pager: {inbox: {}}, chat: {inbox: {}}}
teams:
  network: {receiver: chat, schedule: network, escalation: [{to: [primary]}, {after: 4s, to: [secondary]}]}
  default: {receiver: chat}
alerting: {group_wait: 0s, similar_count: 1000}
`

// called is a whole Kemi in this process, with the targets of the team network.
type called struct {
	t   *testing.T
	app *app.App
	url string
}

func newCalled(t *testing.T, targets ...string) *called {
	return newCalledBy(t, calledYAML, targets...)
}

// newCalledBy is one with another configuration.
func newCalledBy(t *testing.T, yaml string, targets ...string) *called {
	t.Helper()
	var list strings.Builder
	for _, id := range targets {
		fmt.Fprintf(&list, "  - {id: %s, class: box, team: network, address: 192.0.2.1}\n", id)
	}
	dir := files(t, map[string]string{"kemi.yaml": yaml, "targets.yaml": "classes: {box: {}}\ntargets:\n" + list.String()})
	cfg, problems := config.Load(filepath.Join(dir, "kemi.yaml"), false)
	must(t, problems.Err())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	a, err := app.New(cfg, app.Options{Version: "test", Listener: ln, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	c := &called{t: t, app: a, url: "http://" + ln.Addr().String()}
	p := &process{addr: ln.Addr().String()}
	within(t, 30*time.Second, "Kemi knows the targets", wantTargets(p, len(targets)))
	return c
}

// fire says that an alert of a target fires.
func (c *called) fire(target string) {
	c.t.Helper()
	now := time.Now().UTC()
	must(c.t, c.app.Bus().Publish(c.t.Context(), &event.Alert{
		ID: event.ComputeID("alert", target), Name: "FanFailed", Target: target, Domain: event.DefaultDomain, Team: "network", Severity: "critical", State: event.AlertFiring,
		Labels: event.LabelsOf(map[string]string{"alertname": "FanFailed", "target": target, "team": "network"}), StartsAt: now, Updated: now,
	}))
}

// calls are who was called for a target, in order, and why again.
func (c *called) calls(target string) []string {
	calls := []string{}
	for _, e := range c.app.Inbox("pager").List() {
		if e.Page.Kind == event.PageFiring && e.Page.Snapshot != nil && e.Page.Snapshot.Cause == target {
			calls = append(calls, e.Page.Person)
		}
	}
	return calls
}

// want waits until exactly these people were called for a target.
func (c *called) want(target string, people ...string) {
	c.t.Helper()
	within(c.t, 30*time.Second, fmt.Sprintf("for %s are called %v", target, people), func() error {
		if got := c.calls(target); !slices.Equal(got, people) {
			return fmt.Errorf("called were %v", got)
		}
		return nil
	})
}

// incident is the one of a target; it waits until there is one of which something is true.
func (c *called) incident(target string, is func(*event.Incident) bool) (found *event.Incident) {
	c.t.Helper()
	p := &process{addr: strings.TrimPrefix(c.url, "http://")}
	within(c.t, 20*time.Second, "the incident of "+target, func() error {
		var all []*event.Incident
		if err := p.get("/api/kemi/v1/incidents?target="+target, &all); err != nil {
			return err
		}
		for _, i := range all {
			if is(i) {
				found = i
				return nil
			}
		}
		return fmt.Errorf("%d, and none is it", len(all))
	})
	return found
}

// say runs a command.
func (c *called) say(args ...string) string {
	c.t.Helper()
	code, out, errs := kemi(c.t, append(args, "--server", c.url)...)
	if code != 0 {
		c.t.Fatalf("kemi %v: %d %s", args, code, errs)
	}
	return out
}

// Somebody is called; what they and others say then decides who else is, and when.
func TestWhatPeopleSayDecidesWhoIsCalled(t *testing.T) {
	t.Parallel()
	c := newCalled(t, "core", "edge", "leaf", "rack")
	told := func(i *event.Incident) bool { return len(i.Told) > 0 }

	// The primary acknowledges the one, and nobody the other: by the time the secondary is called for the other, they
	// would have been for the one.
	c.fire("core")
	core := c.incident("core", told)
	if out := c.say("ack", core.ID[:8], "--by", "jo"); !strings.Contains(out, "acknowledged until") {
		t.Errorf("ack says %q", out)
	}
	c.fire("edge")
	c.want("edge", "jo", "sun")
	c.want("core", "jo")
	if list := c.say("incidents", "list"); !strings.Contains(list, "jo until ") {
		t.Errorf("the list does not say who looks after it:\n%s", list)
	}
	c.say("unack", core.ID[:8])

	// A silence holds a page back; what still fires when it is over speaks.
	begun := time.Now()
	c.say("silence", "add", "target=leaf", "--for", "4s", "--comment", "a new line card")
	c.fire("leaf")
	held := c.incident("leaf", func(i *event.Incident) bool { return len(i.Muted) > 0 })
	if len(c.calls("leaf")) > 0 || held.Muted[0].Code != "silenced" {
		t.Errorf("called %v though it is silenced: %+v", c.calls("leaf"), held.Muted)
	}
	c.want("core", "jo", "jo", "sun") // It began anew.
	c.want("leaf", "jo", "sun")
	if took := time.Since(begun); took < 4*time.Second {
		t.Errorf("somebody was called after %s, within the silence", took)
	}

	// An override changes who is called.
	c.say("oncall", "override", "network", "sun", "--for", "1h", "--for-person", "jo", "--comment", "dentist")
	c.fire("rack")
	c.want("rack", "sun")
	if who := c.say("oncall"); !strings.Contains(who, "network   sun") {
		t.Errorf("kemi oncall says\n%s", who)
	}
	if out := c.say("resolve", c.incident("rack", told).ID, "--comment", "was a test"); !strings.Contains(out, "resolved") {
		t.Errorf("resolve says %q", out)
	}
}
