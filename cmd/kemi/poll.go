package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/app"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/collector"
	"kemi.dev/kemi/collector/snmp"
	"kemi.dev/kemi/internal/conf"
)

func newPoll() *cobra.Command {
	var output, uri, profile, check string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "poll [TARGET]", Short: "Poll a target now and show what it says", Args: cobra.MaximumNArgs(1),
		Long: `Polls one target of the configuration now, with all its checks, or a device that is not configured with --snmp.
Nothing is stored and no running Kemi is needed. Exit code 0 when the target answered, 1 when it did not.`,
		Example: `  kemi poll core-1 -c kemi.yaml
  kemi poll core-1 --check snmp -o json
  kemi poll --snmp 2c:public@127.0.0.1:1161
  kemi poll --snmp 2c:public@192.0.2.7 --profile host-resources`,
	}
	load := configFlag(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&uri, "snmp", "", "VERSION:COMMUNITY@HOST[:PORT] instead of a configured target")
	cmd.Flags().StringVar(&profile, "profile", "interfaces", "what to read with --snmp")
	cmd.Flags().StringVar(&check, "check", "", "only this check of the target")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long the whole poll may take")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (uri == "") == (len(args) == 0) {
			return usageError{fmt.Errorf("name a target of the configuration, or give --snmp")}
		}
		if timeout <= 0 {
			return usageError{fmt.Errorf("--timeout %s: give it some time", timeout)}
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		target, room, err := pollTarget(ctx, cmd, load, args, uri, profile)
		if err != nil {
			return err
		}
		up, asked := true, 0
		for _, c := range target.Checks {
			if check != "" && c.Name != check {
				continue
			}
			asked++
			now := time.Now()
			r := room.Poll(ctx, event.JobFor(target, c, now, now.Add(timeout), 0, event.CauseManual, "kemi poll"))
			up = up && r.Status.Up()
			if output == "json" {
				err = printJSON(cmd.OutOrStdout(), r)
			} else {
				err = printReading(cmd.OutOrStdout(), r)
			}
			if err != nil {
				return err
			}
		}
		if asked == 0 {
			return fmt.Errorf("%s has no check %q", target.ID, check)
		}
		if !up {
			return errWrong
		}
		return nil
	}
	return cmd
}

// pollTarget finds the target, and the room that can poll it.
func pollTarget(ctx context.Context, cmd *cobra.Command, load func() (*config.Config, conf.Problems), args []string, uri, profile string) (*event.Target, *collector.Room, error) {
	if uri != "" {
		credential, address, err := snmp.ParseURI(uri)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--snmp: %w", err)}
		}
		room, problems := collector.New(collector.Options{Credentials: map[string]conf.Node{"given": credential}})
		if err := problems.Err(); err != nil {
			return nil, nil, err
		}
		if err := room.Profile("snmp", profile); err != nil {
			return nil, nil, usageError{fmt.Errorf("--profile: %w", err)}
		}
		target := &event.Target{ID: address, Address: address, Checks: []event.Check{{Name: "snmp", Kind: "snmp", Profile: profile, Credential: "given"}}}
		return target, room, nil
	}
	cfg, problems := load()
	if len(problems) > 0 {
		return nil, nil, sayProblems(cmd.ErrOrStderr(), problems)
	}
	sources, room, problems := app.Rooms(cfg)
	if len(problems) > 0 {
		return nil, nil, sayProblems(cmd.ErrOrStderr(), problems)
	}
	targets, problems := sources.Check(ctx)
	ids := make([]string, len(targets))
	for i := range targets {
		if ids[i] = targets[i].ID; ids[i] == args[0] {
			return &targets[i], room, nil
		}
	}
	if len(problems) > 0 {
		return nil, nil, sayProblems(cmd.ErrOrStderr(), problems)
	}
	if near := conf.Nearest(args[0], ids); near != "" {
		return nil, nil, fmt.Errorf("there is no target %q: did you mean %s?", args[0], near)
	}
	return nil, nil, fmt.Errorf("there is no target %q among %d", args[0], len(targets))
}

// printReading shows a reading as tables with units.
func printReading(w io.Writer, r *event.Reading) error {
	fmt.Fprintf(w, "%s %s: %s in %s, %d values\n", plain(r.Target), plain(r.Check), r.Status, r.Duration.Round(10*time.Microsecond), r.Values())
	if r.Message != "" {
		fmt.Fprintln(w, "  "+plain(r.Message))
	}
	if !r.Booted.IsZero() {
		fmt.Fprintf(w, "  up since %s\n", r.Booted.Format(time.RFC3339))
	}
	for i := range r.Tables {
		t := &r.Tables[i]
		note := ""
		if t.Truncated {
			note = " (cut short)"
		}
		fmt.Fprintf(w, "\n%s%s\n", plain(t.Name), note)
		if err := printCells(w, t); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

func printCells(w io.Writer, t *event.Table) error {
	header := make([]string, 0, len(t.Index)+len(t.Columns))
	rows := make([][]string, t.Rows)
	for _, ix := range t.Index {
		header = append(header, ix.Name)
		for row := range rows {
			rows[row] = append(rows[row], ix.Values[row])
		}
	}
	for i := range t.Columns {
		c := &t.Columns[i]
		name := c.Name
		if c.Unit != "" {
			name += " (" + c.Unit + ")"
		}
		header = append(header, name)
		for row := range rows {
			rows[row] = append(rows[row], "-")
		}
		for row := range c.Present(t.Rows) {
			rows[row][len(rows[row])-1] = cellText(c, row)
		}
	}
	return printTable(w, header, rows)
}

func cellText(c *event.Column, row int) string {
	switch c.Kind {
	case event.Counter:
		return strconv.FormatUint(c.Counters[row], 10)
	case event.Gauge:
		return strconv.FormatFloat(c.Gauges[row], 'f', -1, 64)
	default:
		return strings.TrimSpace(c.Texts[row])
	}
}
