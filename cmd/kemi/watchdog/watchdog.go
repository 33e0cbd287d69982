// Package watchdog tells somebody outside that Kemi watches, so that silence means it does not.
//
// In: the answer to "does every stage work?". Out: a request to an external watchdog in every interval (healthchecks.io and
// its like), which raises the alarm when they stay away.
// It promises never to ask for a ping while a stage stands still, and never to log the address, which is a secret.
// It never decides whether Kemi works.
package watchdog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/pause"
)

// Config is what stands under `watchdog:`.
type Config struct {
	Pos conf.Pos
	// URL is asked with GET; 2xx is well. It is a secret: whoever has it can keep the alarm away.
	URL conf.Secret `yaml:"url"`
	// Every is the interval, Timeout how long one request may take.
	Every   time.Duration `yaml:"every"`
	Timeout time.Duration `yaml:"timeout"`
}

// Default is a ping a minute.
func Default() Config { return Config{Every: time.Minute, Timeout: 10 * time.Second} }

// SetDefaults implements conf.Defaulter.
func (c *Config) SetDefaults() { *c = Default() }

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	if u, err := url.Parse(c.URL.Reveal()); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		all = append(all, conf.Complaint{Field: "url", What: "no address of a watchdog", Do: "give the ping URL of a check at healthchecks.io or the like, best with url_file"})
	}
	if c.Every < time.Second {
		all = append(all, conf.Complaint{Field: "every", What: "below a second", Do: "write 1m"})
	}
	if c.Timeout < 100*time.Millisecond {
		all = append(all, conf.Complaint{Field: "timeout", What: "below 100 milliseconds", Do: "write 10s"})
	}
	return all
}

// Dog asks for pings.
type Dog struct {
	config  Config
	works   func() (bool, string)
	client  *http.Client
	scope   obs.Scope
	pings   *prometheus.CounterVec
	last    *prometheus.GaugeVec
	trouble obs.Trouble
	held    obs.Trouble
}

// New makes a dog; works says whether every stage works, and why not. When why is empty and the answer is no, another
// process is the one to ping.
func New(c Config, works func() (ok bool, why string), scope obs.Scope) *Dog {
	s := scope.For("watchdog")
	return &Dog{
		config: c, works: works, client: &http.Client{Timeout: c.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, scope: s,
		pings: s.Counter("kemi_watchdog_pings_total", "Pings to the external watchdog: ok, failed, or held because a stage stands still.", "result"),
		last:  s.Gauge("kemi_watchdog_last_ping_timestamp_seconds", "When the external watchdog took the newest ping, in seconds since 1970."),
	}
}

// again is how soon a ping that failed is tried again, at the earliest.
const again = 10 * time.Second

// Run pings until ctx ends.
func (d *Dog) Run(ctx context.Context) error {
	for {
		wait := d.config.Every
		if !d.once(ctx) {
			wait = min(wait, again)
		}
		if !pause.For(ctx, wait) {
			return nil
		}
	}
}

// once pings if that is true, and reports whether nothing is left to be done in this interval.
func (d *Dog) once(ctx context.Context) bool {
	ok, why := d.works()
	switch now := time.Now(); {
	case !ok && why == "":
		return true
	case !ok:
		d.pings.WithLabelValues("held").Inc()
		d.held.Failed(d.scope.Log(), now, "the external watchdog is not pinged", "why", why)
		return false
	}
	d.held.Works(d.scope.Log(), time.Now(), "the external watchdog is pinged again")
	if err := d.ping(ctx); err != nil {
		if ctx.Err() == nil {
			d.pings.WithLabelValues("failed").Inc()
			d.trouble.Failed(d.scope.Log(), time.Now(), "ping the external watchdog", "err", err)
		}
		return false
	}
	d.trouble.Works(d.scope.Log(), time.Now(), "the external watchdog answers again")
	d.pings.WithLabelValues("ok").Inc()
	d.last.WithLabelValues().SetToCurrentTime()
	return true
}

// ping asks once. Its errors do not name the address.
func (d *Dog) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.config.URL.Reveal(), nil)
	if err != nil {
		return errors.New("the watchdog's url is none")
	}
	req.Header.Set("User-Agent", "kemi")
	resp, err := d.client.Do(req)
	if err != nil {
		var where *url.Error
		if errors.As(err, &where) {
			err = where.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // So that the connection is used again; what it says does not matter.
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the watchdog answers %s", resp.Status)
	}
	return nil
}
