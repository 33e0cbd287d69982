package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rogpeppe/go-internal/testscript"

	"kemi.dev/kemi/alerting"
	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/obs"
)

// dutyYAML is a site with people. What is to come is far away, so that no story depends on how fast it is told.
const dutyYAML = `people:
  jo:   {name: Jo Kim, ways: [pager]}
  sun:  {name: Sun Lee, ways: [pager]}
  boss: {ways: [pager]}
schedules:
  network: {timezone: Asia/Seoul, layers: [{people: [jo]}], secondary: [{people: [sun]}]}
  storage: {layers: [{every: week, start: 2026-01-05 09:00, people: [sun, boss]}]}
receivers: {pager: {inbox: {}}, chat: {inbox: {}}}
teams:
  network:
    receiver: chat
    schedule: network
    members: [jo, sun]
    manager: boss
    escalation: [{to: [primary]}, {after: 20m, to: [secondary]}, {after: 40m, to: [manager]}]
  default: {receiver: chat}
maintenance: [{name: sundays, matchers: ['class="printer"'], starts: 2026-01-04 02:00, recurs: "FREQ=WEEKLY;BYDAY=SU", lasts: 2h}]
alerting: {group_wait: 0s, similar_count: 1000}
`

// site is alerting with people on a bus in memory, served as the API is.
type site struct {
	bus   *bus.Bus
	boxes inbox.Set
	url   string
	stop  func()
}

func newSite(dir, yaml string) (*site, error) {
	file := filepath.Join(dir, "site.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		return nil, err
	}
	cfg, problems := config.Load(file, false)
	if len(problems) > 0 {
		return nil, problems.Err()
	}
	s := &site{}
	scope := obs.New(nil, prometheus.NewRegistry())
	s.bus = bus.New(mem.New(), bus.Settings{}, scope)
	room, problems := alerting.New(alerting.Options{
		Bus: s.bus, Scope: scope, Receivers: cfg.Receivers, Teams: cfg.Teams, People: cfg.People, Schedules: cfg.Schedules, Policy: cfg.Alerting,
		Holds: hush.Config{Maintenance: cfg.Maintenance}, Inboxes: &s.boxes,
	})
	if len(problems) > 0 {
		return nil, problems.Err()
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.bus.Open(ctx); err != nil {
		cancel()
		return nil, err
	}
	model := view.New(s.bus)
	mux := http.NewServeMux()
	mux.Handle(api.Prefix+"/", api.New(s.bus, model, func() any { return map[string]bool{} }))
	(&api.Duty{Bus: s.bus, Model: model, Roster: room.Roster(), Holds: room.Holds}).Register(mux)
	srv := httptest.NewServer(mux)
	s.url = srv.URL
	var tasks sync.WaitGroup
	for _, run := range []func(context.Context) error{model.Run, room.Run} {
		tasks.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				panic(err)
			}
		})
	}
	s.stop = func() {
		srv.CloseClientConnections()
		srv.Close()
		cancel()
		tasks.Wait()
		s.bus.Close()
	}
	return s, nil
}

// breaks says that an alert of a target fires.
func (s *site) breaks(targets ...string) error {
	var errs []error
	for _, id := range targets {
		now := time.Now().UTC()
		t := &event.Target{ID: id, Class: "switch", Team: "network", Lifecycle: event.Active, Updated: now}
		t.Version = t.ComputeVersion()
		errs = append(errs, s.bus.Publish(context.Background(), t, &event.Alert{
			ID: event.ComputeID("alert", id), Name: "FanFailed", Target: id, Domain: event.DefaultDomain, Team: "network", Severity: "critical", State: event.AlertFiring,
			Labels: event.LabelsOf(map[string]string{"alertname": "FanFailed", "target": id, "class": "switch", "team": "network"}), StartsAt: now, Updated: now,
		}))
	}
	return errors.Join(errs...)
}

// incidents are those of the targets, by target; it waits until all of them are there and somebody was told, or it is held.
func (s *site) incidents(targets ...string) (map[string]*event.Incident, error) {
	p := &process{addr: s.url[len("http://"):]}
	for deadline := time.Now().Add(20 * time.Second); ; {
		var all []*event.Incident
		if err := p.get(api.Prefix+"/incidents?state=open", &all); err != nil {
			return nil, err
		}
		found := map[string]*event.Incident{}
		for _, i := range all {
			if len(i.Told)+len(i.Muted) > 0 {
				found[i.Cause] = i
			}
		}
		missing := ""
		for _, t := range targets {
			if found[t] == nil {
				missing = t
			}
		}
		if missing == "" {
			return found, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("there is no incident of %s", missing)
		}
	}
}

// TestScriptsOnDuty has people do what they do when they are called: testdata/duty has one story a file. $CORE, $EDGE and
// $LEAF are incidents.
func TestScriptsOnDuty(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/duty", UpdateScripts: *update, Cmds: commands(), Setup: func(e *testscript.Env) error {
		s, err := newSite(e.WorkDir, dutyYAML)
		if err != nil {
			return err
		}
		e.Defer(s.stop)
		if err := s.breaks("core-1", "edge-1", "leaf-1"); err != nil {
			return err
		}
		found, err := s.incidents("core-1", "edge-1", "leaf-1")
		if err != nil {
			return err
		}
		e.Setenv("KEMI_SERVER", s.url)
		e.Setenv("TZ", "UTC")
		e.Setenv("CORE", found["core-1"].ID)
		e.Setenv("EDGE", found["edge-1"].ID)
		e.Setenv("LEAF", found["leaf-1"].ID)
		return nil
	}})
}

func TestTimesToComeAreTakenByTheClockHere(t *testing.T) {
	here := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 11, 22, 10, 30, 0, 0, here)
	for text, want := range map[string]string{
		"10:00": "2026-11-23T10:00:00+02:00", "10:30": "2026-11-23T10:30:00+02:00", "10:45": "2026-11-22T10:45:00+02:00", "+2h": "2026-11-22T12:30:00+02:00",
		"-30m": "2026-11-22T10:00:00+02:00", "+1d": "2026-11-23T10:30:00+02:00", "2026-12-24": "2026-12-24T00:00:00+02:00", "2026-12-24 18:00": "2026-12-24T18:00:00+02:00",
		"2026-12-24T18:00:00Z": "2026-12-24T18:00:00Z",
	} {
		if got, err := ahead("until", text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%q is %s, %v; want %s", text, got.Format(time.RFC3339), err, want)
		}
	}
	for _, text := range []string{"2h", "25:00", "tomorrow", "+", "+x", "2026-13-01"} {
		if got, err := ahead("until", text, now); err == nil {
			t.Errorf("%q is %s; want a mistake", text, got)
		}
	}
	if got, err := ahead("until", "", now); err != nil || !got.IsZero() {
		t.Errorf("nothing is %s, %v", got, err)
	}
}
