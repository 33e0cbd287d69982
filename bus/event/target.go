package event

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Lifecycle of a target. More may come.
type Lifecycle string

// The lifecycles.
const (
	Active      Lifecycle = "active"
	Maintenance Lifecycle = "maintenance"
	Retired     Lifecycle = "retired"
)

// Target is something that exists and is watched: a switch, a server, a VM, a service.
type Target struct {
	// ID is unique among the targets.
	ID string `json:"id"`
	// Class of the target: switch, server, vm, …; sites name their own.
	Class string `json:"class"`
	// Address where it is polled.
	Address string `json:"address"`
	// Team owns the target; its pages go there.
	Team string `json:"team"`
	// Labels are the site's own: site, zone, rack, ….
	Labels map[string]string `json:"labels,omitempty"`
	// Checks are what is asked of it.
	Checks []Check `json:"checks,omitempty"`
	// Relations by kind (runs_on, connected_to, powered_by, depends_on); each need is satisfied by any one of
	// its targets.
	Relations map[string][]Need `json:"relations,omitempty"`
	// Lifecycle of the target.
	Lifecycle Lifecycle `json:"lifecycle"`
	// Source names where the target was read, for people: "file:targets/dc1.yaml:12".
	Source string `json:"source,omitempty"`
	// Origin names the configured CMDB source that the target came from ("file:targets/*.yaml"), which is what
	// AcceptShrink speaks of.
	Origin string `json:"origin,omitempty"`
	// Version is computed from everything above but Source and Origin; it changes when the target does.
	Version string `json:"version"`
	// Updated is when it became this version.
	Updated time.Time `json:"updated"`
}

// Need is one thing a target needs: any one of the named targets is enough.
type Need []string

// The kinds of relation. ConnectedTo points towards the core: what a target needs in order to be reached. The
// others point to what it needs in order to live.
const (
	RunsOn      = "runs_on"
	ConnectedTo = "connected_to"
	PoweredBy   = "powered_by"
	DependsOn   = "depends_on"
)

// RelationKinds lists the kinds of relation, sorted.
func RelationKinds() []string { return []string{ConnectedTo, DependsOn, PoweredBy, RunsOn} }

// Check is one thing to ask of a target again and again.
type Check struct {
	// Name is unique among the target's checks; it is the kind unless there are several of one kind.
	Name string `json:"name"`
	// Kind names the poller.
	Kind string `json:"kind"`
	// Every is the interval, written as "10s" or "1m30s".
	Every time.Duration `json:"-"`
	// Cron is a cron expression, used instead of an interval.
	Cron string `json:"cron,omitempty"`
	// Profile says what to read (SNMP).
	Profile string `json:"profile,omitempty"`
	// Credential names what to read it with. The credential itself stays with the poller.
	Credential string `json:"credential,omitempty"`
	// Spec is the poller's own settings of this check, JSON.
	Spec json.RawMessage `json:"spec,omitempty"`
}

// plainCheck is a Check without its JSON methods; the interval is written as people write it: "10s".
type plainCheck Check

type checkJSON struct {
	plainCheck
	Every string `json:"every,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (c Check) MarshalJSON() ([]byte, error) {
	out := checkJSON{plainCheck: plainCheck(c)}
	if c.Every != 0 {
		out.Every = c.Every.String()
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Check) UnmarshalJSON(data []byte) error {
	var in checkJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*c = Check(in.plainCheck)
	if in.Every == "" {
		return nil
	}
	var err error
	c.Every, err = time.ParseDuration(in.Every)
	return err
}

// Zone is where the target can be polled from.
func (t *Target) Zone() string { return labelOr(t.Labels, "zone", DefaultZone) }

// Domain is the part of the world in which causes are sought together; see LabelDomain.
func (t *Target) Domain() string { return labelOr(t.Labels, LabelDomain, DefaultDomain) }

// LabelDomain is the target label that splits the world into parts that share no causes; most need none.
const LabelDomain = "domain"

// DefaultDomain is the domain of targets that name none.
const DefaultDomain = "default"

func labelOr(labels map[string]string, name, fallback string) string {
	if v := labels[name]; v != "" {
		return v
	}
	return fallback
}

// Topic implements Event.
func (t *Target) Topic() Topic { return topicTargets }

// Identity implements Event: that the target became this version at that time. The time is part of it because a target
// may become again what it was a minute ago, which a broker that drops repeated identities must not take for a repetition.
func (t *Target) Identity() string {
	return ComputeID("target", t.ID, t.Version, strconv.FormatInt(millis(t.Updated), 10))
}

// Key implements Event.
func (t *Target) Key() string { return t.ID }

// Route implements Event.
func (t *Target) Route() string { return t.ID }

// Encode implements Event.
func (t *Target) Encode() ([]byte, error) { return encodeCloudEvent(t, "cmdb", t.Updated) }

// Decode implements Word.
func (t *Target) Decode(data []byte) error { return decodeCloudEvent(data, topicTargets.Word, t) }

// ComputeVersion derives Version from what the target is; order of labels and relations does not matter.
func (t *Target) ComputeVersion() string {
	// The numbers of what follows keep lists apart.
	parts := []string{t.ID, t.Class, t.Address, t.Team, string(t.Lifecycle), strconv.Itoa(len(t.Labels)), strconv.Itoa(len(t.Relations))}
	for _, k := range slices.Sorted(maps.Keys(t.Labels)) {
		parts = append(parts, "label", k, t.Labels[k])
	}
	for _, k := range slices.Sorted(maps.Keys(t.Relations)) {
		for _, need := range t.Relations[k] {
			parts = append(parts, "need", k, strconv.Itoa(len(need)))
			parts = append(parts, slices.Sorted(slices.Values(need))...)
		}
	}
	for _, c := range t.Checks {
		parts = append(parts, "check", c.Name, c.Kind, c.Every.String(), c.Cron, c.Profile, c.Credential, string(c.Spec))
	}
	return ComputeID(parts...)[:12]
}

// EffectiveLabels are the labels that every series and alert of the target carries: its own, and target, class
// and team.
func (t *Target) EffectiveLabels() Labels {
	m := make(map[string]string, len(t.Labels)+3)
	maps.Copy(m, t.Labels)
	m["target"], m["class"], m["team"] = t.ID, t.Class, t.Team
	return LabelsOf(m)
}
