package alertmanager

import (
	"net/http"
	"runtime"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/common/model"

	"kemi.dev/kemi/alerting/route"
)

// version is that of the Alertmanager whose API this is.
const version = "0.34.2"

// status answers GET /status. The version is that of the API, with Kemi's after the plus: clients choose what they can do
// by it. There is no cluster of Alertmanagers: a sender need know but one address.
func (a *api) status(w http.ResponseWriter, _ *http.Request) error {
	config, err := a.config()
	if err != nil {
		return err
	}
	v := version
	if a.Version != "" {
		v += "+kemi." + strings.Map(func(r rune) rune {
			if strings.ContainsRune("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-", r) {
				return r
			}
			return '-'
		}, a.Version)
	}
	return answer(w, status{
		Cluster: cluster{Peers: []struct{}{}, Status: "disabled"}, Config: original{config}, Uptime: moment{a.Started},
		VersionInfo: versionInfo{Branch: "kemi", GoVersion: runtime.Version(), Revision: a.Version, Version: v},
	})
}

// receiverNames lists everything that an alert can be told by.
func (a *api) receiverNames() []string {
	all := slices.Clone(a.Told.Receivers())
	for _, team := range a.Told.Teams() {
		all = append(all, route.TeamPrefix+team)
	}
	return all
}

// config is the part of the configuration that Alertmanager's tools can read, without anything secret: the names of the
// receivers, and the routes as far as they say who is told. Kemi's own configuration says more.
func (a *api) config() (string, error) {
	type named struct {
		Name string `yaml:"name"`
	}
	var c struct {
		Global struct {
			ResolveTimeout string `yaml:"resolve_timeout"`
		} `yaml:"global"`
		Route     route.Shown `yaml:"route"`
		Receivers []named     `yaml:"receivers"`
	}
	c.Global.ResolveTimeout = model.Duration(a.Limits.ResolveTimeout).String()
	root, routed := a.tree.Show(a.Told.Teams())
	c.Route = root
	var names []string
	for _, name := range slices.Concat([]string{route.Owner}, a.receiverNames(), routed) {
		if !slices.Contains(names, name) {
			names = append(names, name)
			c.Receivers = append(c.Receivers, named{name})
		}
	}
	out, err := yaml.Marshal(c)
	return "# What Alertmanager's tools can read of Kemi's configuration: who is told. Teams, schedules and waits stand in kemi.yaml.\n" + string(out), err
}

// receivers answers GET /receivers. They have no labels.
func (a *api) receivers(w http.ResponseWriter, r *http.Request) error {
	f, err := readFilter(r.URL.Query())
	if err != nil {
		return err
	}
	type labelled struct {
		Name   string   `json:"name"`
		Labels labelSet `json:"labels"`
	}
	all := []labelled{}
	for _, name := range a.receiverNames() {
		if f.takes(name) {
			all = append(all, labelled{name, labelSet{}})
		}
	}
	return answer(w, all)
}
