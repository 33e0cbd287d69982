package alertmanager

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// The definitions of Alertmanager's api/v2/openapi.yaml, with its names.

type labelSet map[string]string

type postableAlert struct {
	Labels       labelSet `json:"labels"`
	Annotations  labelSet `json:"annotations"`
	StartsAt     moment   `json:"startsAt"`
	EndsAt       moment   `json:"endsAt"`
	GeneratorURL string   `json:"generatorURL"`
}

type gettableAlert struct {
	Annotations  labelSet    `json:"annotations"`
	EndsAt       moment      `json:"endsAt"`
	Fingerprint  string      `json:"fingerprint"`
	Receivers    []receiver  `json:"receivers"`
	StartsAt     moment      `json:"startsAt"`
	Status       alertStatus `json:"status"`
	UpdatedAt    moment      `json:"updatedAt"`
	GeneratorURL string      `json:"generatorURL,omitempty"`
	Labels       labelSet    `json:"labels"`
}

type receiver struct {
	Name string `json:"name"`
}

type alertStatus struct {
	InhibitedBy []string `json:"inhibitedBy"`
	MutedBy     []string `json:"mutedBy"`
	SilencedBy  []string `json:"silencedBy"`
	State       string   `json:"state"`
}

// The states of an alert.
const (
	stateActive     = "active"
	stateSuppressed = "suppressed"
)

type alertGroup struct {
	Alerts      []gettableAlert `json:"alerts"`
	Labels      labelSet        `json:"labels"`
	Receiver    receiver        `json:"receiver"`
	RouteLabels labelSet        `json:"routeLabels"`
}

type matcherWord struct {
	IsEqual *bool   `json:"isEqual,omitempty"` // True when absent.
	IsRegex *bool   `json:"isRegex"`
	Name    *string `json:"name"`
	Value   *string `json:"value"`
}

type silenceWords struct {
	Annotations labelSet      `json:"annotations"`
	Comment     string        `json:"comment"`
	CreatedBy   string        `json:"createdBy"`
	EndsAt      moment        `json:"endsAt"`
	Matchers    []matcherWord `json:"matchers"`
	StartsAt    moment        `json:"startsAt"`
}

type postableSilence struct {
	ID string `json:"id"`
	silenceWords
}

type gettableSilence struct {
	ID        string        `json:"id"`
	Status    silenceStatus `json:"status"`
	UpdatedAt moment        `json:"updatedAt"`
	silenceWords
}

type silenceStatus struct {
	State string `json:"state"`
}

type status struct {
	Cluster     cluster     `json:"cluster"`
	Config      original    `json:"config"`
	Uptime      moment      `json:"uptime"`
	VersionInfo versionInfo `json:"versionInfo"`
}

type cluster struct {
	Peers  []struct{} `json:"peers"`
	Status string     `json:"status"`
}

type original struct {
	Original string `json:"original"`
}

type versionInfo struct {
	Branch    string `json:"branch"`
	BuildDate string `json:"buildDate"`
	BuildUser string `json:"buildUser"`
	GoVersion string `json:"goVersion"`
	Revision  string `json:"revision"`
	Version   string `json:"version"`
}

// moment is a date-time as Alertmanager writes and reads it: to the millisecond, and nothing for an absent one.
type moment struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (m moment) MarshalJSON() ([]byte, error) {
	return []byte(m.UTC().Format(`"2006-01-02T15:04:05.000Z07:00"`)), nil
}

// UnmarshalJSON implements json.Unmarshaler. The first moment of Unix time is absent too: some clients write that.
func (m *moment) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	m.Time = time.Time{}
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(text))
	if err != nil {
		return fmt.Errorf("%.40q is no time: write it as 2006-01-02T15:04:05Z", text)
	}
	if t.Unix() > 0 {
		m.Time = t.UTC()
	}
	return nil
}
