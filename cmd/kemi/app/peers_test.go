package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/journal"
	"kemi.dev/kemi/internal/obs"
)

// configured reads a configuration.
func configured(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kemi.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Load(path, false)
	if len(problems) > 0 {
		t.Fatal(problems.Err())
	}
	return cfg
}

const here = `
listen: 127.0.0.1:1
cmdb: [{netbox: {url: "https://netbox.example.org/", token: one}}, {file: {path: "/srv/a/*.yaml"}}]
teams: {network: {receiver: chat, members: [jo]}}
people: {jo: {mail: jo@example.org}}
receivers:
  chat: {webhook: {url: "https://hooks.example.org/T0/secret1"}}
  other: {webhook: {url: "https://hooks.example.org/", username: a, password_file: /srv/a/password}}
`

// Processes are of one Kemi when they differ by machine alone, and by what is secret.
func TestTheGistOfAConfigurationIsWhatProcessesShare(t *testing.T) {
	one := gist(configured(t, here))
	for name, c := range map[string]struct{ text, want string }{
		"the order of keys":    {strings.Replace(here, "receiver: chat, members: [jo]", "members: [jo], receiver: chat", 1), ""},
		"another address":      {strings.Replace(here, "127.0.0.1:1", "127.0.0.1:2", 1) + "data: elsewhere\nlog: {level: debug}\n", ""},
		"another secret":       {strings.NewReplacer("token: one", "token: two", "secret1", "secret2").Replace(here), ""},
		"another folder":       {strings.NewReplacer("/srv/a", "/srv/b", "username: a", "username: b").Replace(here), ""},
		"another source":       {strings.Replace(here, "netbox.example.org", "netbox.example.com", 1), "cmdb"},
		"a member more":        {strings.Replace(here, "[jo]", "[jo, jo]", 1), "teams"},
		"another kind of chat": {strings.Replace(here, "{webhook: {url", "{slack: {url", 1), "receivers"},
		"another zone":         {here + "zones: [default, dc2]\n", "zones"},
		"another group":        {here + "pings: {backup: {every: 1h, team: network}}\n", "pings"},
	} {
		p := &peers{mine: peer{Config: one}}
		other := gist(configured(t, c.text))
		if got := p.differs(seenPeer{peer{Config: other}, time.Now()}, time.Now()); got != c.want {
			t.Errorf("%s: %q differ, want %q", name, got, c.want)
		}
		for key, bits := range other {
			if len(bits) != 4 {
				t.Errorf("%s of %s says too much", bits, key)
			}
		}
	}
	older := map[string]string{"teams": one["teams"]}
	if got := (&peers{mine: peer{Config: one}}).differs(seenPeer{peer{Config: older}, time.Now()}, time.Now()); got != "" {
		t.Errorf("what an older version does not know differs: %s", got)
	}
}

// Who runs from another configuration is named once, and while it is there.
func TestAProcessOfAnotherConfigurationIsNamed(t *testing.T) {
	same, other := configured(t, here), configured(t, strings.NewReplacer("[jo]", "[jo, jo]", "netbox.example.org", "netbox.example.com").Replace(here))
	synctest.Test(t, func(t *testing.T) {
		b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		var log journal.Journal
		run := func(cfg *config.Config, roles ...Role) (p *peers, kill func(), stop func()) {
			p = newPeers(b, cfg, roles, obs.New(slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry()), time.Now())
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 2)
			go func() { ended <- p.present(ctx) }()
			go func() { ended <- p.follow(ctx) }()
			time.Sleep(time.Second)
			stop = func() {
				cancel()
				for range 2 {
					if err := <-ended; err != nil {
						t.Error(err)
					}
				}
			}
			return p, func() {
				stop() // What it took back it has not when it is killed.
				if err := b.SaveNoteIn(t.Context(), peersFolder, p.name, mustJSON(t, p.mine)); err != nil {
					t.Fatal(err)
				}
			}, stop
		}
		first, _, stopFirst := run(same, Roles()...)
		defer stopFirst()
		_, _, stopSecond := run(same, RoleCollector)
		defer stopSecond()
		a := &App{Config: same, bus: b, canary: canary.New(), peers: first}
		a.open.Store(true)
		ready := func(want bool) {
			t.Helper()
			ok, why := a.Ready()
			if !ok || strings.Contains(why, "runs from another configuration (cmdb, teams)") != want {
				t.Errorf("ready says %v %q", ok, why)
			}
			n := 0.0
			if want {
				n = 1
			}
			if got := testutil.ToFloat64(first.many); got != n {
				t.Errorf("%v processes differ", got)
			}
		}
		time.Sleep(time.Hour)
		ready(false)
		if log.String() != "" {
			t.Fatal(log.String())
		}
		_, _, stop := run(other, RoleAlerting)
		ready(true)
		time.Sleep(time.Hour)
		ready(true)
		// The three of them follow here: the two name the one, and it names each of the two.
		if n := strings.Count(log.String(), `differ="cmdb, teams"`); n != 4 || strings.Count(log.String(), "roles=[alerting]") != 2 {
			t.Errorf("it is said %d times:\n%s", n, log.String())
		}
		stop()
		time.Sleep(time.Second)
		ready(false)

		log.Reset()
		_, kill, _ := run(other, RoleAlerting)
		kill()
		time.Sleep(peersGone - time.Minute)
		ready(true)
		time.Sleep(3 * time.Minute)
		ready(false)
		time.Sleep(2 * peersGone)
		left := 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.FollowNotes(ctx, peersFolder, func(_ string, data []byte, _ time.Time) { left++ }); err != nil {
			t.Fatal(err)
		}
		if left != 2 {
			t.Errorf("%d processes are left on the bus, want the two that are there", left)
		}
	})
}

// When the bus says no, that is said: comparing does not stop without a word.
func TestWhoFollowsTheOthersEndsWithTheBus(t *testing.T) {
	cfg := configured(t, here)
	synctest.Test(t, func(t *testing.T) {
		b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		p := newPeers(b, cfg, Roles(), obs.New(slog.New(slog.DiscardHandler), prometheus.NewRegistry()), time.Now())
		go func() { ended <- p.follow(t.Context()) }()
		time.Sleep(time.Second)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err == nil {
				t.Error("it ended without a word")
			}
		case <-time.After(time.Hour):
			t.Error("it goes on")
		}
	})
}

// Who does not compare does not say that nobody differs.
func TestWhoDoesNotCompareExportsNothing(t *testing.T) {
	for role, want := range map[Role]int{RoleAPI: 1, RoleCollector: 0} {
		reg := prometheus.NewRegistry()
		newPeers(nil, configured(t, here), []Role{role}, obs.New(slog.New(slog.DiscardHandler), reg), time.Now())
		if n, err := testutil.GatherAndCount(reg, "kemi_processes_other_configuration"); n != want || err != nil {
			t.Errorf("%s: %d gauges, %v", role, n, err)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
