// Package config is the shape of kemi.yaml.
//
// In: a file. Out: a Config with every default filled in, or every mistake with its place.
// It promises that a file that says nothing is valid: `kemi run` with targets alone works.
// It never looks into a plug-in's own keys: the room that runs the plug-in does.
package config

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/subscription"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/alertmanager"
	"kemi.dev/kemi/cmd/kemi/watchdog"
	"kemi.dev/kemi/dashboards"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/web"
	"kemi.dev/kemi/processors/ping"
)

// Config is kemi.yaml.
type Config struct {
	Pos conf.Pos
	// Data is the directory for the embedded bus and series.
	Data string `yaml:"data"`
	// Listen is the address of console and API.
	Listen string `yaml:"listen"`
	// ExternalURL is how people reach the console: links in pages begin with it.
	ExternalURL string    `yaml:"external_url"`
	Auth        *web.Auth `yaml:"auth"`
	// Insecure lets everybody in who can reach Listen.
	Insecure bool     `yaml:"insecure"`
	Zones    []string `yaml:"zones"`
	// Installation names this Kemi among those on one broker: one of another name that meets its topics stops.
	Installation string `yaml:"installation"`
	Bus          conf.Node
	// CMDB lists sources, each a mapping of one kind to its settings.
	CMDB        []conf.Node          `yaml:"cmdb"`
	Credentials map[string]conf.Node `yaml:"credentials"`
	// Profiles is a directory with SNMP profiles of one's own.
	Profiles string `yaml:"profiles"`
	// Rules are files in Prometheus's format, globs allowed; without any the built-in ones are used.
	Rules     []conf.Node          `yaml:"rules"`
	Series    []conf.Node          `yaml:"series"`
	Receivers map[string]conf.Node `yaml:"receivers"`
	Teams     map[string]conf.Node `yaml:"teams"`
	// People and Schedules say who is on call.
	People    map[string]conf.Node `yaml:"people"`
	Schedules map[string]conf.Node `yaml:"schedules"`
	// Route, InhibitRules, TimeIntervals and MuteTimeIntervals are as in an Alertmanager's configuration.
	Route             conf.Node `yaml:"route"`
	InhibitRules      conf.Node `yaml:"inhibit_rules"`
	TimeIntervals     conf.Node `yaml:"time_intervals"`
	MuteTimeIntervals conf.Node `yaml:"mute_time_intervals"`
	// Maintenance lists windows in which nobody is called.
	Maintenance conf.Node          `yaml:"maintenance"`
	Alerting    conf.Node          `yaml:"alerting"`
	Grafana     *dashboards.Config `yaml:"grafana"`
	Log         Log                `yaml:"log"`
	// Watchdog is somebody outside who notices when Kemi falls silent.
	Watchdog *watchdog.Config `yaml:"watchdog"`
	// Pings are jobs of others that ping when they ran; when one stays away there is an alert.
	Pings map[string]ping.Watch `yaml:"pings"`
	// Subscriptions are webhooks of teams that are told events as they come.
	Subscriptions map[string]subscription.Config `yaml:"subscriptions"`
	// Alertmanager bounds what comes through Alertmanager's API.
	Alertmanager alertmanager.Config `yaml:"alertmanager"`
	// CanaryEvery is the interval of the canary's trips.
	CanaryEvery time.Duration `yaml:"canary_every"`

	// Dir is the directory of the file: relative paths begin there.
	Dir string `yaml:"-"`
}

// Log says how much is logged and how.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `yaml:"level"`
	// Format is text or json.
	Format string `yaml:"format"`
}

// Default is the configuration of an empty file in dir.
func Default(dir string) *Config {
	return &Config{
		Data: "data", Listen: "127.0.0.1:7070", Zones: []string{event.DefaultZone}, Installation: "kemi", CanaryEvery: 10 * time.Second,
		Alertmanager: alertmanager.Default(),
		Log:          Log{Level: "info", Format: "text"}, Dir: dir,
	}
}

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	var cs []conf.Complaint
	if err := web.CheckListen(c.Listen, c.Auth, c.Insecure); err != nil {
		cs = append(cs, conf.Complaint{Field: "listen", What: err.Error(), Do: "see docs/operating.md"})
	}
	if u, err := url.Parse(c.ExternalURL); c.ExternalURL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		cs = append(cs, conf.Complaint{Field: "external_url", What: fmt.Sprintf("%q is no address of a web page", c.ExternalURL), Do: "write https://kemi.example.org"})
	}
	if info, err := os.Stat(c.Path(c.Data)); err == nil && !info.IsDir() {
		cs = append(cs, conf.Complaint{Field: "data", What: c.Data + " is a file", Do: "name a directory; it is made when it is not there"})
	}
	if c.CanaryEvery < time.Second {
		cs = append(cs, conf.Complaint{Field: "canary_every", What: "below a second", Do: "write 10s"})
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		cs = append(cs, conf.Complaint{Field: "log.level", What: "unknown level " + c.Log.Level, Do: "use debug, info, warn or error"})
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		cs = append(cs, conf.Complaint{Field: "log.format", What: "unknown format " + c.Log.Format, Do: "use text or json"})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Pings)) {
		if strings.ContainsAny(name, "/?#%") {
			cs = append(cs, conf.Complaint{Field: "pings." + name, What: "a ping's name is a part of its address", Do: "write it without / ? # and %"})
		}
		cs = append(cs, c.team("pings."+name, c.Pings[name].Team)...)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Subscriptions)) {
		if what := subscription.CheckName(name); what != "" {
			cs = append(cs, conf.Complaint{Field: "subscriptions." + name, What: what, Do: "rename it"})
		}
		cs = append(cs, c.team("subscriptions."+name, c.Subscriptions[name].Team)...)
	}
	if len(c.Zones) == 0 {
		cs = append(cs, conf.Complaint{Field: "zones", What: "no zones", Do: "leave the key out, or name one"})
	}
	return cs
}

// team complains of a team that is none of the configured ones.
func (c *Config) team(field, name string) []conf.Complaint {
	if _, there := c.Teams[name]; there || name == "" || len(c.Teams) == 0 {
		return nil
	}
	known := slices.Sorted(maps.Keys(c.Teams))
	do := "the teams are " + strings.Join(known, ", ")
	if near := conf.Nearest(name, known); near != "" {
		do = "did you mean \"" + near + "\"?"
	}
	return []conf.Complaint{{Field: field + ".team", What: "there is no team \"" + name + "\"", Do: do}}
}

// Load reads a file. A file of the default name may be missing: then everything is default. With mistakes there is a
// Config of what could be read, so that what it names can be checked too; nil when nothing could.
func Load(path string, isDefault bool) (*Config, conf.Problems) {
	c := Default(filepath.Dir(path))
	var problems conf.Problems
	if _, err := os.Stat(path); isDefault && os.IsNotExist(err) {
		c.Pos.File = path
	} else {
		var node conf.Node
		if node, problems = conf.Load(path); node.IsZero() && len(problems) > 0 {
			return nil, problems
		}
		problems = append(problems, node.Into(c)...)
	}
	if len(c.CMDB) == 0 {
		c.CMDB, _ = conf.ParseRaw(path, []byte("file: {path: targets/*.yaml}")) // Has no mistakes.
	}
	return c, problems
}

// Path makes a path of the configuration absolute or relative to the working directory.
func (c *Config) Path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.Dir, p)
}
