package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/cmdb"
	"kemi.dev/kemi/dashboards/console"
)

// listed is one kind of thing that can be listed and shown.
type listed struct {
	name, one, short string
	states           string
	header           []string
	rows             func(json.RawMessage) ([][]string, error)
	// narrow adds flags of its own and leaves out what they do not choose; nil when there are none.
	narrow func(*cobra.Command) func(json.RawMessage) (json.RawMessage, error)
}

func rowsOf[T any](row func(T) []string) func(json.RawMessage) ([][]string, error) {
	return func(data json.RawMessage) ([][]string, error) {
		var all []T
		if err := json.Unmarshal(data, &all); err != nil {
			return nil, err
		}
		rows := make([][]string, len(all))
		for i, e := range all {
			rows[i] = row(e)
		}
		return rows, nil
	}
}

// titles writes the names of columns as titles.
func titles(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.ToUpper(n)
	}
	return out
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return console.Ago(time.Since(t))
}

var (
	targetsView = listed{
		"targets", "target", "What is watched, and how it is", "up, down, unknown, waiting",
		[]string{"id", "class", "address", "team", "state", "for"},
		rowsOf(func(t view.Target) []string {
			since := ago(t.Since)
			if gone := t.Unpolled(time.Now()); gone > 0 {
				since += ", not polled for " + console.Ago(gone)
			}
			return []string{t.ID, t.Class, t.Address, t.Team, string(t.Health), since}
		}), nil,
	}
	alertsView = listed{
		"alerts", "alert", "Problems, deduplicated", "firing, resolved",
		[]string{"id", "alert", "target", "severity", "state", "since", "summary"},
		rowsOf(func(a event.Alert) []string {
			return []string{a.ID[:min(8, len(a.ID))], a.Name, a.Target, a.Severity, string(a.State), ago(a.StartsAt), a.Annotations["summary"]}
		}), nil,
	}
	incidentsView = listed{
		"incidents", "incident", "Causes, and what they took along", "verifying, open, resolved",
		incidentColumns, rowsOf(incidentRow), narrowIncidents,
	}
)

// newList makes "kemi NAME list" and "kemi NAME show".
func newList(l listed) *cobra.Command {
	parent := &cobra.Command{Use: l.name, Short: l.short, Args: noSubcommand, RunE: help}
	var c client
	var output string
	var filter view.Filter
	narrow := func(all json.RawMessage) (json.RawMessage, error) { return all, nil }
	list := &cobra.Command{
		Use: "list", Short: "List " + l.name, Args: cobra.NoArgs,
		Example: fmt.Sprintf("  kemi %[1]s list\n  kemi %[1]s list --state %[2]s -o json", l.name, strings.Split(l.states, ",")[0]),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if filter.State != "" && !slices.Contains(strings.Split(l.states, ", "), filter.State) {
				return usageError{fmt.Errorf("--state %s: there is %s", filter.State, l.states)}
			}
			q := url.Values{}
			for name, value := range map[string]string{"state": filter.State, "class": filter.Class, "team": filter.Team, "target": filter.Target} {
				if value != "" {
					q.Set(name, value)
				}
			}
			var all json.RawMessage
			if err := c.get(cmd.Context(), "/"+l.name, q, &all); err != nil {
				return err
			}
			all, err := narrow(all)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), all)
			}
			rows, err := l.rows(all)
			if err != nil {
				return err
			}
			return printTable(cmd.OutOrStdout(), titles(l.header), rows)
		},
	}
	list.Flags().StringVar(&filter.State, "state", "", "only those in this state: "+l.states)
	list.Flags().StringVar(&filter.Team, "team", "", "only those of this team")
	if l.name == "targets" || l.name == "alerts" {
		list.Flags().StringVar(&filter.Class, "class", "", "only those of this class")
	}
	if l.name == "alerts" {
		list.Flags().StringVar(&filter.Target, "target", "", "only those of this target")
	}
	if l.narrow != nil {
		narrow = l.narrow(list)
	}
	outputFlag(list, &output)
	c.flags(list)

	show := &cobra.Command{
		Use: "show ID", Short: "Show one " + l.one + " with everything that is known of it", Args: cobra.ExactArgs(1),
		Example: fmt.Sprintf("  kemi %s show 1a2b3c4d   # the start of the id is enough", l.name),
		RunE: func(cmd *cobra.Command, args []string) error {
			var one json.RawMessage
			if err := c.get(cmd.Context(), "/"+l.name+"/"+url.PathEscape(args[0]), nil, &one); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), one)
		},
	}
	if l.name == "targets" {
		show.Example = "  kemi targets show core-1"
	}
	outputFlag(show, new(string))
	c.flags(show)
	parent.AddCommand(list, show)
	return parent
}

func newTargets() *cobra.Command {
	parent := newList(targetsView)
	var c client
	var by, comment string
	accept := &cobra.Command{
		Use: "accept-shrink SOURCE", Short: "Let a CMDB source lose the targets it is held for", Args: cobra.ExactArgs(1),
		Long: `A source that loses more than a fifth of its targets at once is held: what was there stays and is watched on.
When the loss is meant, say so here. The name of the source is in the log, in /api/kemi/v1/status and on the console.`,
		Example: "  kemi targets accept-shrink file:targets --comment 'rack 7 is gone'",
		RunE: func(cmd *cobra.Command, args []string) error {
			held, err := heldSource(cmd.Context(), &c, args[0])
			if err != nil {
				return err
			}
			body, err := json.Marshal(event.Command{
				Kind: event.AcceptShrink, Subject: held.Name, By: by, Comment: comment, Args: map[string]string{"shrink": held.Shrink},
			})
			if err != nil {
				return err
			}
			resp, err := c.do(cmd.Context(), "POST", "/commands", nil, strings.NewReader(string(body)))
			if err != nil {
				return err
			}
			resp.Body.Close()
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the loss of %d targets is meant; they are forgotten now\n", plain(held.Name), len(held.Lost))
			return err
		},
	}
	accept.Flags().StringVar(&by, "by", "", "who says so")
	accept.Flags().StringVar(&comment, "comment", "", "why")
	c.flags(accept)
	parent.AddCommand(accept)
	return parent
}

// heldSource finds the source that is held, so that only the loss that its user has seen is accepted.
func heldSource(ctx context.Context, c *client, name string) (cmdb.SourceStatus, error) {
	var status struct{ Sources []cmdb.SourceStatus }
	if err := c.get(ctx, "/status", nil, &status); err != nil {
		return cmdb.SourceStatus{}, err
	}
	names := make([]string, 0, len(status.Sources))
	for _, s := range status.Sources {
		names = append(names, s.Name)
		if s.Name != name {
			continue
		}
		if s.State != cmdb.StateHeld {
			return s, fmt.Errorf("%s is not held: it is %s", name, s.State)
		}
		return s, nil
	}
	return cmdb.SourceStatus{}, fmt.Errorf("there is no source %q: there are %s", name, strings.Join(names, ", "))
}
