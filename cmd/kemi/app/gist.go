package app

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"net/url"
	"slices"
	"strings"

	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/internal/conf"
)

// gist is a few bits of each key that processes of one Kemi share: enough to tell that it differs, and too few to guess
// what it says. Of what may differ by machine it has neither where Kemi listens and keeps its data, nor paths and logins as
// local has them, nor anything that is secret. Files of rules and commands are in it as they are written.
func gist(cfg *config.Config) map[string]string {
	out := map[string]string{}
	add := func(key string, write func(h hash.Hash)) {
		h := sha256.New()
		write(h)
		out[key] = hex.EncodeToString(h.Sum(nil)[:2])
	}
	for key, n := range map[string]conf.Node{
		"route": cfg.Route, "inhibit_rules": cfg.InhibitRules, "time_intervals": cfg.TimeIntervals, "mute_time_intervals": cfg.MuteTimeIntervals,
		"maintenance": cfg.Maintenance, "alerting": cfg.Alerting,
	} {
		add(key, func(h hash.Hash) { writeNode(h, n) })
	}
	for key, all := range map[string]map[string]conf.Node{
		"teams": cfg.Teams, "people": cfg.People, "schedules": cfg.Schedules, "receivers": cfg.Receivers,
	} {
		add(key, func(h hash.Hash) {
			for _, name := range slices.Sorted(maps.Keys(all)) {
				fmt.Fprintf(h, "%q:", name)
				writeNode(h, all[name])
			}
		})
	}
	for key, all := range map[string][]conf.Node{"cmdb": cfg.CMDB, "rules": cfg.Rules} {
		add(key, func(h hash.Hash) {
			for _, n := range all {
				writeNode(h, n)
			}
		})
	}
	for key, names := range map[string][]string{
		"zones": cfg.Zones, "pings": slices.Sorted(maps.Keys(cfg.Pings)), "subscriptions": slices.Sorted(maps.Keys(cfg.Subscriptions)),
	} {
		add(key, func(h hash.Hash) { fmt.Fprintf(h, "%q", names) })
	}
	return out
}

// secretive are parts of the names of keys whose values are nobody's business.
var secretive = []string{"password", "passphrase", "secret", "token", "key", "credential", "community", "header", "dsn", "env"}

// local says whether what is under a key may differ by machine.
func local(key string, value conf.Node) bool {
	switch key {
	case "username", "path", "dir":
		return true
	case "file": // Of holidays; a source of that kind is a map.
		return value.Kind() != conf.Map
	}
	return strings.HasSuffix(key, "_file")
}

// writeNode writes a node so that equal ones are equal, whatever their order of keys: without what is under a secretive
// or local key, and of addresses the host alone, for there are some that let in who knows them.
func writeNode(h hash.Hash, n conf.Node) {
	switch n.Kind() {
	case conf.Map:
		keys := slices.Clone(n.Keys())
		slices.SortFunc(keys, func(a, b conf.Node) int { return strings.Compare(a.Text(), b.Text()) })
		fmt.Fprint(h, "{")
		for _, k := range keys {
			fmt.Fprintf(h, "%q:", k.Text())
			name, value := strings.ToLower(k.Text()), n.Get(k.Text())
			if !local(name, value) && !slices.ContainsFunc(secretive, func(s string) bool { return strings.Contains(name, s) }) {
				writeNode(h, value)
			}
		}
		fmt.Fprint(h, "}")
	case conf.List:
		fmt.Fprint(h, "[")
		for _, x := range n.Items() {
			writeNode(h, x)
		}
		fmt.Fprint(h, "]")
	default:
		text := n.Text()
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			text = u.Host
		}
		fmt.Fprintf(h, "%q", text)
	}
}
