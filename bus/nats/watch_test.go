package nats

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
)

// logging writes down what is held back, too, as level=DEBUG.
func logging(j *journal.Journal) obs.Scope {
	return obs.New(slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug})), nil)
}

// told are the lines that somebody who runs Kemi sees.
func told(j *journal.Journal) (all []string) {
	for line := range strings.Lines(j.String()) {
		if !strings.Contains(line, "level=DEBUG") {
			all = append(all, line)
		}
	}
	return all
}

// onceAwayOnceBack holds a log to two lines.
func onceAwayOnceBack(t *testing.T, j *journal.Journal, away string, back ...string) {
	t.Helper()
	lines := told(j)
	ok := len(lines) == 2 && strings.Contains(lines[0], away) && strings.Contains(lines[1], "after=")
	returned := false
	for _, b := range back {
		returned = returned || len(lines) == 2 && strings.Contains(lines[1], b)
	}
	if !ok || !returned {
		t.Errorf("want %q and one of %q once each:\n%s", away, back, strings.Join(lines, ""))
	}
}

// joined is a driver on a cluster that has topics, groups of them and a follower.
func joined(t *testing.T, urls []string, log *journal.Journal) *Driver {
	t.Helper()
	d, err := New(Config{URLs: urls, Replicas: 3}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	d.tuning, d.scope = patient(), logging(log)
	if err := d.Ensure(t.Context(), []driver.Topic{topicThings, topicAlerts}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []driver.Subscription{
		{Topic: topicThings.Name, Group: "g"}, {Topic: topicThings.Name, Group: "h"}, {Topic: topicAlerts.Name, Group: "g"}, {Topic: topicThings.Name},
	} {
		f, err := d.Subscribe(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				if _, err := f.Next(t.Context()); err != nil {
					return
				}
			}
		}()
	}
	publish(t, d, topicThings.Name, "k", "v")
	return d
}

// What groups and readers try again while a cluster has no majority is told once for all, and once that it is over.
func TestIntegrationAClusterWithoutAMajorityIsToldOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("real servers are not for -short")
	}
	t.Parallel()
	c := brokers.NATS(t, 3)
	var log journal.Journal
	d := joined(t, c.URLs, &log)
	await(t, "health", func() bool { return d.Health() == nil })
	log.Reset()
	var gone []*brokers.Node
	for i, n := range c.Nodes {
		if !strings.Contains(c.URLs[i], strings.TrimPrefix(d.links[process].where(), "nats://")) {
			gone = append(gone, n)
		}
	}
	if len(gone) != 2 {
		t.Fatalf("connected to %s of %s", d.links[process].where(), c.URLs)
	}
	for _, n := range gone {
		n.Kill()
	}
	eventually(t, time.Minute, "Health to know", func() bool {
		err := d.Health()
		return err != nil && strings.Contains(err.Error(), "the nats cluster has no leader")
	})
	defer func() {
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	// Each group and reader tries on for longer than it would take to be told by itself.
	tries := func() int { return strings.Count(log.String(), "level=DEBUG") }
	before, begun := tries(), time.Now()
	eventually(t, time.Minute, "everybody to try on", func() bool { return time.Since(begun) > settles+lingers && tries() >= before+20 })
	for _, n := range gone {
		n.Start()
	}
	for _, n := range gone {
		n.Ready()
	}
	eventually(t, time.Minute, "health", func() bool { return d.Health() == nil && len(told(&log)) > 1 })
	publish(t, d, topicThings.Name, "k", "w")
	onceAwayOnceBack(t, &log, "the nats cluster has no leader", "nats is back")
}

// A cluster that is frozen is noticed by who has nothing to do with it, before the client gives its connection up.
func TestIntegrationAFrozenClusterIsNoticedByTheIdle(t *testing.T) {
	if testing.Short() {
		t.Skip("real servers are not for -short")
	}
	t.Parallel()
	c := brokers.NATS(t, 3)
	d, err := New(Config{URLs: c.URLs, Replicas: 3}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var log journal.Journal
	d.scope = logging(&log)
	if err := d.Ensure(t.Context(), []driver.Topic{topicThings}); err != nil {
		t.Fatal(err)
	}
	await(t, "health", func() bool { return d.Health() == nil })
	log.Reset()
	for _, n := range c.Nodes {
		n.Pause()
	}
	begun := time.Now()
	await(t, "Health to know", func() bool { return d.Health() != nil })
	t.Log(time.Since(begun), d.Health())
	// What it says shows who noticed: the client's pings say that the connection is lost.
	wants(t, d.Health(), "nats does not answer", "though it was asked")
	await(t, "the connection to be given up", func() bool { return !d.links[process].there() })
	for _, n := range c.Nodes {
		n.Resume()
	}
	eventually(t, time.Minute, "health", func() bool { return d.Health() == nil && len(told(&log)) > 1 })
	onceAwayOnceBack(t, &log, "nats does not answer", "connected to nats again", "nats is back")
}

// eventually is await with its own patience.
func eventually(t *testing.T, most time.Duration, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Nobody says anything to a server that is well for longer than a silent one is believed: its answers to the watch show it.
func TestAServerWithNothingToSayIsWell(t *testing.T) {
	t.Parallel()
	s := served(t, &server.Options{JetStream: true})
	var log journal.Journal
	d, err := New(Config{URLs: []string{s.ClientURL()}}, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.scope = logging(&log)
	if err := d.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	eventually(t, time.Minute, "some seconds to pass", func() bool {
		if err := d.Health(); err != nil {
			t.Fatal(err)
		}
		return time.Since(begun) > (frozenAfter+4)*pulse
	})
	if lines := told(&log); len(lines) > 0 {
		t.Errorf("it is said %q", lines)
	}
}

// The watch counts the beats that it had: a machine that stood still for a minute has heard nothing meanwhile, and blames
// nobody.
func TestAMachineThatStoodStillBlamesNobody(t *testing.T) {
	t.Parallel()
	s := served(t, &server.Options{JetStream: true})
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var log journal.Journal
	l := newLink()
	l.dialer = &dialer{ctx: t.Context()}
	if err := l.use(nc); err != nil {
		t.Fatal(err)
	}
	w := &watch{l: l, log: logging(&log).Log(), blind: true}
	now := time.Now()
	for range 3 {
		now = now.Add(time.Minute)
		w.beat(t.Context(), now)
	}
	if err := l.health(now); err != nil || len(told(&log)) > 0 {
		t.Errorf("after three beats in three minutes: %v, %s", err, log.String())
	}
	for range frozenAfter { // The dialer of this one has heard nothing, whatever came.
		now = now.Add(pulse)
		w.beat(t.Context(), now)
	}
	wants(t, l.health(now), "nats does not answer")
	l.dialer.heard.Add(1)
	w.beat(t.Context(), now.Add(time.Second))
	if err := l.health(now); err != nil {
		t.Error(err)
	}
	onceAwayOnceBack(t, &log, "nats does not answer", "nats is back")
}

// Connections that come and go are told once a minute, and trouble that stays is told all the same.
func TestComingAndGoingIsToldOnceInAWhile(t *testing.T) {
	t.Parallel()
	var j journal.Journal
	log, now := logging(&j).Log(), time.Now()
	var a absence
	for range 20 {
		a.begin(log, now, "lost", errors.New("eof"))
		now = now.Add(time.Second)
		a.end(log, now, "back")
		now = now.Add(time.Second)
	}
	onceAwayOnceBack(t, &j, "lost", "back")
	j.Reset()
	a.begin(log, now, "lost", errors.New("eof"))
	for range 30 {
		now = now.Add(time.Second)
		a.remind(log, now)
	}
	a.end(log, now, "back")
	onceAwayOnceBack(t, &j, "lost", "back")
}

// What one reader alone cannot do is told by it, when it is clear that the link is well.
func TestWhatIsNotTheLinksTroubleIsToldAfterAWhile(t *testing.T) {
	t.Parallel()
	var a absence
	now := time.Now()
	for range int(settles/time.Second) - 1 {
		now = now.Add(time.Second)
		if !a.covers("read anew", now) {
			t.Fatal("it is told before it is clear whose trouble it is")
		}
	}
	now = now.Add(2 * time.Second)
	if a.covers("read anew", now) {
		t.Error("it is never told")
	}
	if !a.covers("read something else", now) {
		t.Error("another's trouble is told at once")
	}
	now = now.Add(obs.Every + time.Second)
	if !a.covers("read anew", now) {
		t.Error("what was over for a minute is taken for the same")
	}
}
