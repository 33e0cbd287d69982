// Package demo plays a site that loses and regains a core switch, and the people who are called for it.
//
// In: how large and how long. Out: a running pipeline over a simulated fleet, a story on the terminal, a summary.
// It promises that the pipeline is the one of `kemi run`, on a configuration it writes to a temporary directory.
// It never talks to anything but loopback and leaves nothing behind.
package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/app"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/run"
	"kemi.dev/kemi/internal/simulate"
)

// MaxDevices is how many devices fit into the demo's addresses.
const MaxDevices = 50000

// Options of Run.
type Options struct {
	// Devices scales the site; 0 is its natural size of 532.
	Devices int
	// For ends the demo after that time; 0 is never.
	For   time.Duration
	Story bool
	JSON  bool
	// Listen is where the console is; a taken port is replaced by a free one.
	Listen  string
	Version string
	// Out gets the story and the summary, Log what goes wrong.
	Out, Log io.Writer
	// Live says that Out is a terminal: there is a status line.
	Live bool
}

// The story, in time since the demo's clock began.
const (
	calm   = 5 * time.Second
	fall   = 20 * time.Second
	rise   = 55 * time.Second
	victim = "core-1"
)

// prefix is where the simulated devices live.
const prefix = "127.77.0.0/16:0"

// Run plays the demo until ctx or the time is over.
func Run(ctx context.Context, o Options) error {
	listen, err := simulate.ParseListen(prefix)
	if err != nil {
		return err
	}
	spec := simulate.DemoSpec(listen)
	if o.Devices > 0 {
		spec = spec.Scale(o.Devices)
	}
	devices, err := simulate.Site(spec)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kemi-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	fleet, err := simulate.New(simulate.Config{Listen: listen, Devices: devices, Log: slog.New(slog.NewTextHandler(o.Log, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		return err
	}
	d := &demo{Options: o, dir: dir, fleet: fleet}
	var g run.Group
	g.Add("simulated fleet", fleet.Run, fleet.Ready())
	g.Add("demo", d.pipeline)
	return g.Run(ctx)
}

type demo struct {
	Options
	dir    string
	fleet  *simulate.Fleet
	phones *phones
	app    *app.App
	addr   string
	began  time.Time
	told   int
	// rung counts the calls that were looked at; press is the link whose button is pressed at pressAt; acknowledged is what
	// was said then.
	rung         int
	press        string
	pressAt      time.Time
	acknowledged string
	silenced     []string // Targets.
}

// say writes a line of the story, over the status line if there is one.
func (d *demo) say(format string, args ...any) {
	if d.JSON {
		return
	}
	if d.Live {
		fmt.Fprint(d.Out, "\r\x1b[K")
	}
	fmt.Fprintf(d.Out, format+"\n", args...)
}

// pipeline runs Kemi over the fleet and tells the story.
func (d *demo) pipeline(ctx context.Context) error {
	ln, err := d.listen()
	if err != nil {
		return err
	}
	defer ln.Close()
	if d.phones, err = newPhones(); err != nil {
		return err
	}
	defer d.phones.Close()
	path, err := write(d.dir, ln.Addr().String(), d.phones.Addr().String(), d.fleet.Devices())
	if err != nil {
		return err
	}
	cfg, problems := config.Load(path, false)
	if err := problems.Err(); err != nil {
		return err
	}
	d.app, err = app.New(cfg, app.Options{Version: d.Version, Listener: ln, Log: slog.New(slog.NewTextHandler(d.Log, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		return err
	}
	var g run.Group
	g.Add("phones", d.phones.run)
	g.Add("pipeline", d.app.Run)
	g.Add("story", d.story)
	return g.Run(ctx)
}

// listen opens the asked address, or another port of it when that is taken.
func (d *demo) listen() (net.Listener, error) {
	if ln, err := net.Listen("tcp", d.Listen); err == nil {
		return ln, nil
	}
	host, _, err := net.SplitHostPort(d.Listen)
	if err != nil {
		return nil, err
	}
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}

// story strikes the core switch, prints pages and status, and ends with the summary.
func (d *demo) story(ctx context.Context) error {
	addr, err := d.app.Address(ctx)
	if err != nil {
		return nil // The pipeline says why.
	}
	d.addr = addr
	select {
	case <-d.app.Model().Ready():
	case <-ctx.Done():
		return nil
	}
	d.began = time.Now()
	d.say("Kemi watches %d simulated devices, polled every 10 s.", len(d.fleet.Devices()))
	d.say("  console         http://%s/", addr)
	d.say("  Prometheus API  http://%s/api/v1/query?query=up", addr)
	d.say("  command line    kemi targets list --server http://%s", addr)
	if d.Story {
		d.say("In %s core switch %s goes down, and with it all that can only be reached through it; %s later it is back.", fall, victim, rise-fall)
		d.say("%s is on call and sleeps; %s is the secondary.", primary, secondary)
	}
	d.say("Ctrl-C ends it.\n")

	type act struct {
		at     time.Duration
		target string
		fault  simulate.FaultKind
		line   string
	}
	acts := []act{
		{fall, victim, simulate.Down, "core switch " + victim + " goes down"},
		{rise, victim, simulate.Clear, "core switch " + victim + " is back"},
	}
	if vm := spare(d.fleet.Devices()); vm != "" {
		acts = slices.Insert(acts, 0, act{calm, vm, simulate.Down, "lee silences " + vm + " for 10 minutes and turns it off"})
		acts = append(acts, act{rise, vm, simulate.Clear, vm + " is back"})
	}
	if !d.Story {
		acts = nil
	}
	var end <-chan time.Time
	if d.For > 0 {
		end = time.After(d.For)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var before counts
	last := d.began
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-end:
			return d.finish(ctx)
		case now := <-tick.C:
			if at := now.Sub(d.began); len(acts) > 0 && at >= acts[0].at {
				if acts[0].at == calm {
					if err := d.silence(ctx, acts[0].target); err != nil {
						return fmt.Errorf("silence: %w", err)
					}
				}
				if err := d.fleet.Fault(acts[0].target, simulate.Fault{Kind: acts[0].fault}); err != nil {
					return err
				}
				d.say("%5.1f s  %s", at.Seconds(), acts[0].line)
				acts = acts[1:]
			}
			d.pages()
			if err := d.people(ctx, now); err != nil && ctx.Err() == nil {
				return err
			}
			if now.Sub(last) >= time.Second {
				seen := d.count()
				d.status(now, seen.since(before, now.Sub(last)), seen)
				before, last = seen, now
			}
		}
	}
}

// pages prints the pages that were sent since the last call.
func (d *demo) pages() {
	all := d.sent()
	for _, p := range all[min(d.told, len(all)):] {
		d.say("%5.1f s  PAGE to %s (%s): %s: %s", p.After, cmp.Or(p.Person, p.Team), p.Receiver, strings.ToUpper(string(p.Kind)), p.Title)
	}
	d.told = len(all)
}

// counts are totals since the start.
type counts struct {
	polls, values float64
	open, targets int
	down          int
}

func (c counts) since(before counts, d time.Duration) (perSecond counts) {
	return counts{polls: (c.polls - before.polls) / d.Seconds(), values: (c.values - before.values) / d.Seconds()}
}

func (d *demo) count() counts {
	var c counts
	families, err := d.app.Registry().Gather()
	if err != nil {
		return c // The next second has another chance.
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "kemi_collector_polls_total":
				c.polls += m.GetCounter().GetValue()
			case "kemi_series_samples_written_total":
				c.values += m.GetCounter().GetValue()
			}
		}
	}
	d.app.Model().Read(func(s *view.State) {
		for _, byHealth := range s.Health() {
			for health, n := range byHealth {
				c.targets += n
				if health == view.Down {
					c.down += n
				}
			}
		}
		for _, i := range s.Incidents(view.Filter{}) {
			if i.State != event.IncidentResolved {
				c.open++
			}
			if len(i.Muted) > 0 && len(i.Told) == 0 && !slices.Contains(d.silenced, i.Cause) {
				d.silenced = append(d.silenced, i.Cause)
			}
		}
	})
	return c
}

func (d *demo) status(now time.Time, rate, total counts) {
	if !d.Live || d.JSON {
		return
	}
	fmt.Fprintf(d.Out, "\r\x1b[K%5.1f s  %d targets, %d down · %.0f polls/s · %.0f values/s · %d open incidents · %d pages",
		now.Sub(d.began).Seconds(), total.targets, total.down, rate.polls, rate.values, total.open, d.told)
}

// finish prints the summary.
func (d *demo) finish(ctx context.Context) error {
	d.pages()
	s, err := audit(ctx, d.app)
	s.Pages, s.Acknowledged, s.Silenced = d.sent(), d.acknowledged, d.silenced
	if err != nil {
		return errors.Join(errors.New("count what happened"), err)
	}
	if d.JSON {
		enc := json.NewEncoder(d.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	d.say("\n%d targets, %d polls, %d readings, %d findings, %d incidents, %d pages, %d jobs lost.",
		s.Targets, s.Polls, s.Readings, s.Findings, s.Incidents, len(s.Pages), s.LostJobs)
	return nil
}
