// Package dashboards draws Grafana dashboards from the profiles that decide what is collected.
//
// In: profiles. Out: dashboards as JSON, as files for Grafana's provisioning, or pushed to a Grafana, with the data
// source they ask.
// It promises the same bytes for the same profiles, that a second push changes nothing, and that what a person changed
// in Grafana stays unless overwriting is asked for.
// It never queries series itself.
package dashboards

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"kemi.dev/kemi/collector/profile"
)

// Dashboard is one generated dashboard.
type Dashboard struct {
	// UID is the same for ever: it is in the address of the dashboard.
	UID   string
	Title string
	json  []byte
}

// JSON returns the dashboard as Grafana's import, provisioning and HTTP API take it, indented, ending in a newline.
func (d Dashboard) JSON() []byte { return slices.Clone(d.json) }

// The dashboards that are always there.
const (
	// FleetUID is the overview of all targets.
	FleetUID = "kemi-fleet"
	// NetworkDeviceUID is one network device, from the profile "interfaces".
	NetworkDeviceUID = "kemi-network-device"
	// HostUID is one server or virtual machine, from the profile "host-resources".
	HostUID = "kemi-host"
)

// Generate makes the fleet overview and one dashboard for each profile that reads more than the system group. The order
// of the profiles does not matter. Two profiles of one name, and columns that cannot be named in PromQL, are errors.
func Generate(profiles []profile.Profile) ([]Dashboard, error) {
	sorted := slices.Clone(profiles)
	slices.SortFunc(sorted, func(a, b profile.Profile) int { return strings.Compare(a.Name, b.Name) })
	boards := []board{}
	var devices []view
	for i, p := range sorted {
		if i > 0 && sorted[i-1].Name == p.Name {
			return nil, fmt.Errorf("generate dashboards: two profiles are named %q", p.Name)
		}
		if err := usable(p); err != nil {
			return nil, fmt.Errorf("generate the dashboard of profile %s: %w", p.Name, err)
		}
		v, ok := viewOf(p)
		if !ok {
			continue
		}
		devices = append(devices, v)
		boards = append(boards, deviceBoard(v, p))
	}
	boards = append([]board{fleetBoard(sorted, devices)}, boards...)
	out := make([]Dashboard, 0, len(boards))
	for _, b := range boards {
		data, err := json.MarshalIndent(b, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encode dashboard %s: %w", b.UID, err)
		}
		out = append(out, Dashboard{UID: b.UID, Title: b.Title, json: append(data, '\n')})
	}
	return out, nil
}

// view is how the targets of a profile are looked at.
type view struct {
	uid, title string
	// targets is the variable query that lists the targets.
	targets string
}

// viewOf names the dashboard of a profile; ok is false for a profile that needs none of its own.
func viewOf(p profile.Profile) (v view, ok bool) {
	metric := firstMetric(p)
	switch {
	case metric == "" || p.Name == "system": // Every other dashboard shows the system group.
		return view{}, false
	case p.Name == "interfaces":
		return view{NetworkDeviceUID, "Kemi: network device", `label_values(up{class=~"` + networkClasses + `"}, target)`}, true
	case p.Name == "host-resources":
		return view{HostUID, "Kemi: host", "label_values(" + metric + ", target)"}, true
	}
	return view{"kemi-profile-" + slug(p.Name), "Kemi: " + p.Name, "label_values(" + metric + ", target)"}, true
}

// networkClasses matches the classes whose targets are network devices: any class with one of these words in it.
const networkClasses = "(?i).*(switch|router|firewall|gateway|core|access|spine|leaf|tor|network|wifi|balancer).*"

// firstMetric is a metric that every target of the profile has, and few others: the last scalar, because what a profile
// adds comes after what it inherits, or else the first column of its last table.
func firstMetric(p profile.Profile) string {
	name := ""
	for _, t := range p.Tables {
		for _, c := range t.Columns {
			if t.Single && c.Kind != kindText && t.Name != "system" {
				name = c.Name
			}
		}
	}
	for i := len(p.Tables) - 1; name == "" && i >= 0; i-- {
		for _, c := range p.Tables[i].Columns {
			if c.Kind != kindText {
				return c.Name
			}
		}
	}
	return name
}

// usable checks what would break queries: PromQL takes letters, digits and underscores in plain names.
func usable(p profile.Profile) error {
	if slug(p.Name) == "" {
		return fmt.Errorf("the profile's name %q has no letter or digit", p.Name)
	}
	for _, t := range p.Tables {
		names := slices.Clone(t.Labels)
		for _, c := range t.Columns {
			names = append(names, c.Name)
			switch c.Kind {
			case kindCounter, kindGauge, kindText:
			default:
				return fmt.Errorf("column %s of table %s is of unknown kind %q", c.Name, t.Name, c.Kind)
			}
		}
		for _, n := range names {
			if !plainName(n) {
				return fmt.Errorf("%q in table %s cannot be named in a query: use letters, digits and _", n, t.Name)
			}
			if slices.Contains(keywords, strings.ToLower(n)) {
				return fmt.Errorf("%q in table %s is a word of PromQL: give it another name", n, t.Name)
			}
		}
	}
	return nil
}

func plainName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// slug keeps letters and digits, in lower case, with - between: what a uid may be made of.
func slug(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-")
}

// keywords are the words of PromQL, in any case, that a query could take for something else than a name.
var keywords = strings.Fields(`and or unless atan2 sum avg count min max group stddev stdvar topk bottomk count_values quantile
	limitk limit_ratio offset by without on ignoring group_left group_right bool start end step smoothed anchored inf nan`)
