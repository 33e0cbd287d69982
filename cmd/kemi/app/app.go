// Package app puts the rooms together.
//
// In: a configuration. Out: a running pipeline with its HTTP listener, or every mistake in the configuration.
// It promises that listeners are up before sources start and that sources fall silent first, so that nothing is in
// flight without an ear.
// It never decides anything that a room could.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"kemi.dev/kemi/alerting"
	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/alerting/subscription"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/ack"
	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/cmdb"
	"kemi.dev/kemi/collector"
	"kemi.dev/kemi/deploy"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
	"kemi.dev/kemi/internal/run"
	"kemi.dev/kemi/internal/web"
	"kemi.dev/kemi/processors"
	"kemi.dev/kemi/processors/rule"
	"kemi.dev/kemi/scheduler"
	"kemi.dev/kemi/scheduler/cron"
)

// App is a pipeline.
type App struct {
	Config  *config.Config
	Version string

	scope    obs.Scope
	registry *prometheus.Registry
	started  time.Time
	data     string
	canary   *canary.Tracker
	bus      *bus.Bus
	model    *view.Model
	roles    []Role
	guard    *web.Guard
	cert     atomic.Pointer[tls.Certificate]
	open     atomic.Bool           // The bus is.
	waits    atomic.Pointer[error] // Why it is not, when it was tried.
	inboxes  inbox.Set
	alone    bool   // Nobody else reaches the bus.
	peers    *peers // Nil when alone.
	listener net.Listener
	address  chan string

	cmdb       *cmdb.Room
	scheduler  *scheduler.Room
	collector  *collector.Room
	processors *processors.Room
	alerting   *alerting.Room
	hooks      *subscription.Room
	ack        *ack.Desk
	bell       *bell
	duty       *api.Duty
}

// Options of New beyond the configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	// Listener, if given, is used instead of one on the configured address.
	Listener net.Listener
	// Roles of this process; none is all.
	Roles []Role
	// Zones that this process polls; none is all that are configured.
	Zones []string
}

// Rooms makes the rooms that can be made without a bus, for `kemi check` and `kemi poll`.
func Rooms(cfg *config.Config) (*cmdb.Room, *collector.Room, conf.Problems) {
	a := &App{Config: cfg, roles: Roles()}
	problems := a.sources(nil)
	return a.cmdb, a.collector, problems
}

// Checked is what Check found.
type Checked struct {
	// Targets and Rules are how many there are.
	Targets, Rules int
	// Problems are mistakes; Notes are what is none, and maybe not meant.
	Problems, Notes conf.Problems
}

// Check says every mistake in the configuration and what it names, and who can be called from now on.
func Check(ctx context.Context, cfg *config.Config, now time.Time) Checked {
	a := &App{Config: cfg, roles: Roles(), scope: obs.New(slog.New(slog.DiscardHandler), prometheus.NewRegistry())}
	a.bus = bus.New(mem.New(), bus.Settings{Zones: cfg.Zones}, a.scope) // Rooms want one to be made; it is never opened.
	var c Checked
	problems := append(a.sources(nil), a.sinks()...)
	if a.cmdb != nil {
		found, more := a.cmdb.Check(ctx)
		c.Targets, problems = len(found), append(problems, more...)
	}
	if set, more := a.rules(); len(more) == 0 {
		c.Rules = len(set.Rules())
	}
	for _, n := range route.Notes(cfg.Route) {
		c.Notes = append(c.Notes, n.Problem())
	}
	never, notes := a.alerting.Foresee(now)
	problems, c.Notes = append(problems, never...), append(c.Notes, notes...)
	_, _, more := openBroker(cfg.Bus, cfg.Path(cfg.Data), a.scope)
	problems = append(problems, more...)
	problems = append(problems, a.checkLinkKey()...)
	if cfg.Auth != nil {
		if _, err := a.newGuard(nil); err != nil {
			problems = append(problems, cfg.Auth.Pos.Problem(err.Error(), "see docs/operating.md"))
		}
		if err := a.loadCertificate(); err != nil {
			problems = append(problems, cfg.Auth.Pos.Problem(err.Error(), "name PEM files of a certificate and its key"))
		}
	}
	c.Problems = problems
	return c
}

// New makes a pipeline from its configuration. It touches nothing outside yet.
func New(cfg *config.Config, o Options) (*App, error) {
	a := &App{
		Config: cfg, Version: o.Version, listener: o.Listener, registry: prometheus.NewRegistry(), started: time.Now(), data: cfg.Path(cfg.Data),
		roles: o.Roles,
		// One reader is enough: whoever started the app.
		address: make(chan string, 1),
	}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if len(a.roles) == 0 {
		a.roles = Roles()
	}
	a.canary = canary.New(stages(a.has, stored(cfg.Series))...)
	a.scope = obs.New(o.Log, a.registry)
	d, durability, problems := openBroker(cfg.Bus, a.data, a.scope)
	if len(problems) > 0 {
		return nil, problems.Err()
	}
	a.alone = reachedHereOnly(d)
	if a.alone && !a.whole() {
		return nil, conf.Problems{cfg.Bus.Problem("the embedded bus can only be reached by the process that runs it, which has to have all roles",
			"leave --role out, or give bus: {nats: {urls: [...]}} or bus: {kafka: {brokers: [...]}}")}.Err()
	}
	for _, zone := range o.Zones {
		if !slices.Contains(cfg.Zones, zone) {
			return nil, conf.Problems{cfg.Pos.Problem("there is no zone "+zone, "the zones are "+strings.Join(cfg.Zones, ", "))}.Err()
		}
	}
	a.bus = bus.New(d, bus.Settings{Zones: cfg.Zones, Installation: cfg.Installation, Durability: durability}, a.scope)
	if !a.alone {
		a.peers = newPeers(a.bus, cfg, a.roles, a.scope, a.started)
	}
	a.model = view.New(a.bus)
	a.ack = ack.New(a.bus, a.model, a.externalURL())
	a.bell = newBell(a.bus, a.Config.Pings)
	if problems := append(a.sources(o.Zones), a.sinks()...); len(problems) > 0 {
		return nil, problems.Err()
	}
	var err error
	if a.scheduler, err = scheduler.New(scheduler.Options{Bus: a.bus, Zones: cfg.Zones, Canary: a.canary, Scope: a.scope}); err != nil {
		return nil, err
	}
	a.duty = &api.Duty{Bus: a.bus, Model: a.model, Roster: a.alerting.Roster(), Holds: a.alerting.Holds}
	a.guard, err = a.newGuard(a.routes())
	return a, err
}

// newGuard makes the guard of the listener before h.
func (a *App) newGuard(h http.Handler) (*web.Guard, error) {
	auth := a.Config.Auth
	if auth != nil {
		copied := *auth
		copied.TokensFile = a.Config.Path(auth.TokensFile)
		auth = &copied
	}
	return web.NewGuard(auth, a.Config.ExternalURL, openPaths, h)
}

// sources makes the rooms that bring targets and readings in.
func (a *App) sources(zones []string) conf.Problems {
	cfg := a.Config
	if len(zones) == 0 {
		zones = cfg.Zones
	}
	var problems, more conf.Problems
	a.collector, problems = collector.New(collector.Options{
		Bus: a.bus, Zones: zones, Credentials: cfg.Credentials, Profiles: cfg.Path(cfg.Profiles), Scope: a.scope, Canary: a.canary,
	})
	o := cmdb.Options{
		Sources: cfg.CMDB, Dir: cfg.Dir, Cron: cron.Check, Zones: cfg.Zones, Bus: a.bus, Scope: a.scope, CanaryEvery: cfg.CanaryEvery,
	}
	if len(cfg.Teams) > 0 {
		o.Teams = keys(cfg.Teams)
	}
	if a.collector != nil {
		o.Kinds, o.Spec, o.Profile = a.collector.Kinds(), a.collector.Spec, a.collector.Profile
		o.Credential, o.Credentials = a.collector.CredentialFor, keys(cfg.Credentials)
	}
	a.cmdb, more = cmdb.New(o)
	return append(problems, more...)
}

// sinks makes the rooms that judge readings and tell people.
func (a *App) sinks() conf.Problems {
	cfg := a.Config
	rules, problems := a.rules()
	var more conf.Problems
	a.processors, more = processors.New(processors.Options{
		Bus: a.bus, DataDir: a.data, Series: cfg.Series, Rules: rules, Pings: cfg.Pings, Alone: a.alone, Version: a.Version, Canary: a.canary, Scope: a.scope,
	})
	problems = append(problems, more...)
	a.alerting, more = alerting.New(alerting.Options{
		Bus: a.bus, Receivers: cfg.Receivers, Teams: cfg.Teams, Policy: cfg.Alerting, People: cfg.People, Schedules: cfg.Schedules, Route: cfg.Route, Dir: cfg.Dir,
		Holds:       hush.Config{Maintenance: cfg.Maintenance, InhibitRules: cfg.InhibitRules, TimeIntervals: cfg.TimeIntervals, MuteTimeIntervals: cfg.MuteTimeIntervals},
		ExternalURL: a.externalURL(), AckURL: a.ackURL,
		Canary: a.canary, Scope: a.scope, Inboxes: &a.inboxes,
	})
	problems = append(problems, more...)
	a.hooks, more = subscription.New(subscription.Options{Bus: a.bus, Subscriptions: cfg.Subscriptions, Scope: a.scope})
	return append(problems, more...)
}

func keys[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	return all
}

// externalURL is how people reach the console.
func (a *App) externalURL() string {
	switch {
	case a.Config.ExternalURL != "":
		return a.Config.ExternalURL
	case a.Config.Auth != nil && a.Config.Auth.TLS != nil:
		return "https://" + a.Config.Listen
	default:
		return "http://" + a.Config.Listen
	}
}

// URL is how the listener at addr is reached.
func (a *App) URL(addr string) string {
	if a.cert.Load() != nil {
		return "https://" + addr
	}
	return "http://" + addr
}

// Address returns the address of the HTTP listener, once it is there.
func (a *App) Address(ctx context.Context) (string, error) {
	select {
	case addr := <-a.address:
		a.address <- addr
		return addr, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Model is the read model.
func (a *App) Model() *view.Model { return a.model }

// Registry holds Kemi's own metrics.
func (a *App) Registry() *prometheus.Registry { return a.registry }

// Inbox returns the pages that a receiver of kind inbox got, nil when there is none of that name.
func (a *App) Inbox(name string) *inbox.Inbox { return a.inboxes.Get(name) }

// Bus carries the app's events.
func (a *App) Bus() *bus.Bus { return a.bus }

// Run starts everything and blocks until ctx ends or a part fails.
func (a *App) Run(ctx context.Context) (err error) {
	if a.alone || a.has(RoleAPI) && a.processors.Store() != nil {
		if err := writable(a.data); err != nil {
			return err
		}
	}
	if err := a.loadLinkKey(); err != nil {
		return err
	}
	ln := a.listener
	if ln == nil {
		if ln, err = web.Listen(a.Config.Listen); err != nil {
			return err
		}
	}
	defer ln.Close()
	var g run.Group
	opened := make(chan struct{})
	g.Add("http", func(ctx context.Context) error { return a.serve(ctx, ln) })
	g.Add("bus", func(ctx context.Context) error { return a.carry(ctx, opened) }, opened)
	if !a.alone {
		g.Add("presence", a.peers.present)
		if a.has(RoleAPI) {
			g.Add("peers", a.peers.follow)
		}
	}
	if a.has(RoleAPI) && !a.has(RoleAlerting) { // Who runs alerting hears of overrides there.
		g.Add("overrides", a.duty.FollowOverrides)
	}
	if a.has(RoleAPI) && !a.alone { // Another process may read the sources.
		g.Add("sources", a.cmdb.Follow)
	}
	if a.has(RoleAlerting) && a.Config.Watchdog != nil {
		g.Add("watchdog", a.watchdog)
	}
	for _, part := range []struct {
		role Role
		name string
		run  func(context.Context) error
	}{
		{RoleAPI, "view", a.model.Run},
		{RoleAPI, "topics", a.bus.Observe},
		{RoleAPI, "links", a.ack.Run},
		{RoleAPI, "pings", a.bell.run},
		{RoleAPI, "store", a.processors.RunStore},
		{RoleAlerting, "subscriptions", a.hooks.Run},
		{RoleAlerting, "alerting", a.alerting.Run},
		{RoleProcessors, "processors", a.processors.Run},
		{RoleCollector, "collector", a.collector.Run},
		{RoleScheduler, "scheduler", a.scheduler.Run},
		{RoleScheduler, "cmdb", a.cmdb.Run},
	} {
		if a.has(part.role) {
			g.Add(part.name, part.run)
		}
	}
	return g.Run(ctx)
}

// carry opens the bus, waiting for a broker that is away or has no room, and closes it when ctx ends: everybody else has left by then.
func (a *App) carry(ctx context.Context, opened chan<- struct{}) error {
	for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
		err := a.bus.Open(ctx)
		if err == nil {
			break
		}
		passes := errors.Is(err, bus.ErrAway) || errors.Is(err, bus.ErrFull)
		if !passes || ctx.Err() != nil {
			return errors.Join(fmt.Errorf("open the bus: %w", err), a.bus.Close())
		}
		a.waits.Store(&err)
		a.scope.Log().Warn("the bus cannot be opened yet, waiting for it", "err", err)
		if !pause.For(ctx, wait) {
			return a.bus.Close()
		}
	}
	close(opened)
	a.open.Store(true)
	<-ctx.Done()
	return a.bus.Close()
}

// rules reads the configured rules, or those that come with Kemi when none are configured.
func (a *App) rules() (*rule.Set, conf.Problems) {
	if a.Config.Rules == nil {
		return rule.LoadFS(deploy.Rules, "rules/*.yaml")
	}
	var sets []*rule.Set
	var problems conf.Problems
	for _, n := range a.Config.Rules {
		var pattern string
		if more := n.Into(&pattern); len(more) > 0 {
			problems = append(problems, more...)
			continue
		}
		set, more := rule.Load([]string{pattern}, a.Config.Dir)
		for _, p := range more {
			if p.Line == 0 { // About the file as a whole: the place is where it is named.
				p = n.Problem(strings.TrimPrefix(p.File+": "+p.What, ": "), p.Do)
			}
			problems = append(problems, p)
		}
		sets = append(sets, set)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return rule.Join(sets...), nil
}

// Reload reads the rules, the tokens, the certificate and the secrets of subscriptions again; what has a mistake stays as it
// was.
func (a *App) Reload() error {
	set, problems := a.rules()
	if len(problems) == 0 {
		a.processors.ReloadRules(set)
	}
	return errors.Join(problems.Err(), a.guard.Reload(), a.loadCertificate(), a.hooks.Reload())
}

// loadCertificate reads the listener's certificate, if it has one.
func (a *App) loadCertificate() error {
	if a.Config.Auth == nil || a.Config.Auth.TLS == nil {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(a.Config.Path(a.Config.Auth.TLS.Cert), a.Config.Path(a.Config.Auth.TLS.Key))
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	a.cert.Store(&pair)
	return nil
}

// writable makes the data directory and tries to write there, so that the error names it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the data directory %s: %w: choose another with data: in the configuration", dir, err)
	}
	probe := filepath.Join(dir, ".writable")
	if err := os.WriteFile(probe, nil, 0o600); err != nil {
		return fmt.Errorf("write to the data directory %s: %w: choose another with data: in the configuration", dir, err)
	}
	return os.Remove(probe)
}
