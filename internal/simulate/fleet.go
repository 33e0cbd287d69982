package simulate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config describes a fleet.
type Config struct {
	Listen  Listen
	Devices []Device
	// Community is what SNMP requests must carry; default "public".
	Community string
	// MaxMessage bounds an SNMP response in octets; default 1472, which is one
	// Ethernet frame.
	MaxMessage int
	// Seed makes devices, values and losses differ between fleets.
	Seed uint64
	// Boot is when every device started. Zero: each at a time of its own in the
	// half year before New.
	Boot time.Time
	// Script is played from the moment the fleet is ready.
	Script Script
	Log    *slog.Logger     // default: silent
	Now    func() time.Time // default time.Now; must run at the clock's pace
}

// Fleet is many simulated devices in one process.
type Fleet struct {
	cfg      Config
	members  []*member
	byID     map[string]*member
	byAddr   map[netip.Addr]*member // SNMP devices
	topology topology
	timers   *timers
	ready    chan struct{}
	started  atomic.Bool
	count    counts

	mu       sync.Mutex // guards the states' succession and what follows
	listen   Listen     // with the real port once bound
	web      *web       // nil while not running
	settleAt time.Time  // when settle is due next; zero: not planned
}

// member is one device of a running fleet.
type member struct {
	device
	at     int // its place in the fleet
	source []byte
	state  atomic.Pointer[state]
	lit    atomic.Bool // up and reachable
	asked  atomic.Uint64
	told   atomic.Uint64
	draws  atomic.Uint64 // random numbers used so far
	lastID atomic.Int32  // id of the newest request
	port   atomic.Uint32 // where it really listens; 0: not yet known
}

// New checks the configuration and builds the fleet. Nothing listens yet.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	f := &Fleet{
		cfg: cfg, listen: cfg.Listen, timers: newTimers(), ready: make(chan struct{}),
		byID: make(map[string]*member, len(cfg.Devices)), byAddr: make(map[netip.Addr]*member, len(cfg.Devices)),
	}
	now := cfg.Now()
	trees := map[shape]tree{}
	used := make(map[netip.AddrPort]string, len(cfg.Devices))
	for i, d := range cfg.Devices {
		if err := d.validate(cfg.Listen); err != nil {
			return nil, err
		}
		if f.byID[d.ID] != nil {
			return nil, fmt.Errorf("device id %q is used twice: give each device its own", d.ID)
		}
		m := &member{device: device{Device: d, seed: deviceSeed(cfg.Seed, d.ID)}, at: i}
		key := netip.AddrPortFrom(d.Addr.Addr(), 0) // SNMP devices share one port
		if d.Class.SNMP() {
			s := shapeOf(d)
			if trees[s] == nil {
				trees[s] = s.tree()
			}
			m.tree, m.source = trees[s], sourceControl(d.Addr.Addr())
			f.byAddr[d.Addr.Addr()] = m
		} else {
			key = d.Addr
		}
		// Services with port 0 get a free one each and cannot clash.
		if other, taken := used[key]; taken && (d.Class.SNMP() || d.Addr.Port() != 0) {
			return nil, fmt.Errorf("devices %s and %s have the same address %s: give each its own", other, d.ID, d.Addr)
		}
		if d.Class.SNMP() || d.Addr.Port() != 0 {
			used[key] = d.ID
		}
		boot := cfg.Boot
		if boot.IsZero() {
			boot = bootOf(m.seed, now)
		}
		m.state.Store(&state{boot: boot})
		m.port.Store(uint32(d.Addr.Port()))
		m.lit.Store(true)
		f.members = append(f.members, m)
		f.byID[d.ID] = m
	}
	var err error
	if f.topology, err = newTopology(cfg.Devices); err != nil {
		return nil, err
	}
	for _, s := range cfg.Script {
		if _, err := f.selected(s.Device, s.Fault); err != nil {
			return nil, fmt.Errorf("script at %s: %w", s.At, err)
		}
	}
	return f, nil
}

// complete fills in defaults and checks what concerns the whole fleet.
func (c *Config) complete() error {
	if err := c.Listen.validate(); err != nil {
		return err
	}
	if len(c.Devices) == 0 {
		return errors.New("fleet has no devices: give it at least one")
	}
	if c.Community == "" {
		c.Community = "public"
	}
	if len(c.Community) > 255 {
		return fmt.Errorf("community has %d octets: use at most 255", len(c.Community))
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = 1472
	}
	// RFC 3417 asks for 484 at least; 65507 is the largest UDP payload.
	if c.MaxMessage < 484 || c.MaxMessage > 65507 {
		return fmt.Errorf("largest SNMP message of %d octets: use 484 to 65507", c.MaxMessage)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// Ready is closed when every device can be asked.
func (f *Fleet) Ready() <-chan struct{} { return f.ready }

// Devices lists the fleet in its given order, with real ports once it is ready.
func (f *Fleet) Devices() []Device {
	out := make([]Device, len(f.members))
	for i, m := range f.members {
		out[i] = m.Device
		out[i].Addr = m.addr()
	}
	return out
}

func (m *member) addr() netip.AddrPort {
	return netip.AddrPortFrom(m.Addr.Addr(), uint16(m.port.Load()))
}

// Run listens, answers and plays the script until ctx ends. A fleet runs once.
func (f *Fleet) Run(ctx context.Context) error {
	if f.started.Swap(true) {
		return errors.New("run simulated fleet: it has been run before: build a new one")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel() // before Wait, also when something fails below

	var failed error
	if len(f.byAddr) > 0 {
		socket, err := listenSocket(ctx, f.cfg.Listen.Port)
		if err != nil {
			return fmt.Errorf("listen for SNMP on %s: %w", f.cfg.Listen, err)
		}
		for _, m := range f.byAddr {
			m.port.Store(uint32(socket.port))
		}
		context.AfterFunc(ctx, socket.close)
		group.Go(func() {
			if err := f.serve(ctx, socket); err != nil {
				failed = err
				cancel()
			}
		})
	}
	web := newWeb(f)
	f.mu.Lock()
	f.web = web
	err := f.settle(f.cfg.Now())
	f.mu.Unlock()
	defer web.close()
	if err != nil {
		return err
	}
	start := f.cfg.Now()
	for _, s := range f.cfg.Script {
		f.timers.add(start.Add(s.At), 0, func() { f.play(s) })
	}
	f.cfg.Log.Info("simulated fleet is ready", "devices", len(f.members), "listen", f.cfg.Listen.String())
	close(f.ready)
	f.timers.run(ctx, f.cfg.Now)
	cancel()
	group.Wait()
	return failed
}

// Stats counts what the fleet did so far.
type Stats struct {
	Requests uint64 `json:"requests"` // SNMP and HTTP requests to devices of the fleet
	Answers  uint64 `json:"answers"`  // answers sent, mangled ones included
	Silent   uint64 `json:"silent"`   // not answered: the device is down or unreachable
	Refused  uint64 `json:"refused"`  // not answered: not SNMP v1/v2c, or a wrong community
	Lost     uint64 `json:"lost"`     // not answered: lost by a lossy device or a full delay queue
	Foreign  uint64 `json:"foreign"`  // packets to addresses that are no device
}

type counts struct{ requests, answers, silent, refused, lost, foreign atomic.Uint64 }

// Stats tells what the fleet did so far.
func (f *Fleet) Stats() Stats {
	c := &f.count
	return Stats{c.requests.Load(), c.answers.Load(), c.silent.Load(), c.refused.Load(), c.lost.Load(), c.foreign.Load()}
}
