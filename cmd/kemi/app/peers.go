package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

// Processes of one Kemi share nothing but their bus and their configuration. Each says on the bus what its configuration is,
// as a few bits of each key, and those with the role api compare: two installations that nobody told apart by name, and a
// change that has not come to every machine yet, are named there. It is a warning; who is right nobody knows.

const (
	peersFolder = "bus/processes"
	peersAgain  = 5 * time.Minute // How often a process says that it is there.
	peersGone   = 3 * peersAgain  // When one that does not is not counted any more: it was killed.
)

// peer is what a process says of itself.
type peer struct {
	Host   string            `json:"host"`
	PID    int               `json:"pid"`
	Roles  []Role            `json:"roles"`
	Config map[string]string `json:"config"`
}

// peers are the processes that are there.
type peers struct {
	bus  *bus.Bus
	log  *slog.Logger
	name string
	mine peer
	many prometheus.Gauge // Nil without the role api: nothing is compared then.

	mu   sync.Mutex
	all  map[string]seenPeer
	told map[string]string // What was said of whom.
}

type seenPeer struct {
	peer
	at time.Time
}

func newPeers(b *bus.Bus, cfg *config.Config, roles []Role, scope obs.Scope, now time.Time) *peers {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	p := &peers{
		bus: b, log: scope.Log(), mine: peer{Host: host, PID: os.Getpid(), Roles: roles, Config: gist(cfg)},
		all: map[string]seenPeer{}, told: map[string]string{},
	}
	if slices.Contains(roles, RoleAPI) {
		p.many = scope.Gauge("kemi_processes_other_configuration", "Processes on this bus that run from another configuration than this one.").WithLabelValues()
	}
	p.name = fmt.Sprintf("%s-%d-%d", host, p.mine.PID, now.UnixNano())
	return p
}

// present says that this process is there, until ctx ends, and then that it is not.
func (p *peers) present(ctx context.Context) error {
	data, err := json.Marshal(p.mine)
	if err != nil {
		return fmt.Errorf("encode what this process is: %w", err)
	}
	for wait := peersAgain; ; wait = peersAgain {
		if err := p.bus.SaveNoteIn(ctx, peersFolder, p.name, data); err != nil {
			p.log.Debug("say that this process is there", "err", err)
			wait = 10 * time.Second
		}
		if !pause.For(ctx, wait) {
			break
		}
	}
	if p.bus.Health() == nil { // Who is killed is forgotten after a while, too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := p.bus.SaveNoteIn(ctx, peersFolder, p.name, nil); err != nil {
			p.log.Debug("say that this process leaves", "err", err)
		}
	}
	return nil
}

// follow hears of the others until ctx ends or the bus says no.
func (p *peers) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	defer looking.Wait()
	defer cancel()
	looking.Go(func() {
		for pause.For(ctx, time.Minute) {
			p.forget(ctx, time.Now())
		}
	})
	return p.bus.FollowNotes(ctx, peersFolder, func(name string, data []byte, stored time.Time) { p.hear(name, data, stored) })
}

// hear notes what a process says; nil that it left.
func (p *peers) hear(name string, data []byte, at time.Time) {
	p.mu.Lock()
	var x peer
	if data == nil || json.Unmarshal(data, &x) != nil {
		delete(p.all, name)
		delete(p.told, name)
	} else {
		p.all[name] = seenPeer{x, at}
	}
	p.mu.Unlock()
	p.compare(time.Now())
}

// forget takes the notes of those away that died long ago.
func (p *peers) forget(ctx context.Context, now time.Time) {
	p.mu.Lock()
	var dead []string
	for name, x := range p.all {
		if now.Sub(x.at) > 2*peersGone {
			dead = append(dead, name)
		}
	}
	p.mu.Unlock()
	for _, name := range dead {
		if err := p.bus.SaveNoteIn(ctx, peersFolder, name, nil); err != nil {
			p.log.Debug("forget a process that is gone", "err", err)
			break
		}
	}
	p.compare(now)
}

// compare warns once of everybody whose configuration differs from this one's, and of each difference.
func (p *peers) compare(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for name, x := range p.all {
		differs := p.differs(x, now)
		if differs != "" {
			n++
		}
		if p.told[name] == differs {
			continue
		}
		if p.told[name] = differs; differs != "" {
			p.log.Warn("a process on this bus runs from another configuration: bring it up to date, or, when it is another Kemi, give each a prefix and an installation of its own",
				"host", x.Host, "pid", x.PID, "roles", x.Roles, "differ", differs)
		}
	}
	if p.many != nil {
		p.many.Set(float64(n))
	}
}

// differs names the keys that are not the same here and there, "" when all are or it is gone.
func (p *peers) differs(x seenPeer, now time.Time) string {
	if now.Sub(x.at) > peersGone {
		return ""
	}
	var keys []string
	for key := range p.mine.Config {
		// A key that one of them does not know is of another version.
		if theirs, known := x.Config[key]; known && theirs != p.mine.Config[key] {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}

// note is what people are to know of the others, "" when there is nothing.
func (p *peers) note(now time.Time) string {
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, x := range p.all {
		if differs := p.differs(x, now); differs != "" {
			all = append(all, fmt.Sprintf("the process %d at %s runs from another configuration (%s)", x.PID, x.Host, differs))
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	if len(all) > 1 {
		return fmt.Sprintf("%s, and so do %d more", all[0], len(all)-1)
	}
	return all[0]
}
