package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/cmd/kemi/app"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/run"
	"kemi.dev/kemi/internal/web"
)

const defaultConfig = "kemi.yaml"

// configFlag adds -c; load reads what it names.
func configFlag(cmd *cobra.Command) (load func() (*config.Config, conf.Problems)) {
	path := cmd.Flags().StringP("config", "c", defaultConfig, "configuration file; when kemi.yaml is not there everything is default")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml", "json") // Fails only for flags that are not there.
	return func() (*config.Config, conf.Problems) {
		return config.Load(*path, !cmd.Flags().Changed("config"))
	}
}

// logger writes to w as the configuration says.
func logger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Validated before: this is the zero configuration.
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run", Short: "Run the pipeline", Args: cobra.NoArgs,
		Long: `Runs the whole pipeline on a configuration: reads the targets, polls them, evaluates rules, writes series, pages.
Everything has a default: a folder targets/ with one YAML file is enough. SIGHUP reads rules, tokens, certificate and the secrets of
subscriptions again, SIGTERM or Ctrl-C stops. See deploy/example for a complete configuration.

With --role a process takes a share of the pipeline, and several processes on one external bus make one Kemi, from the same
configuration file. Processes of the same role share its work, and take over what another leaves within seconds:
  scheduler   reads the sources of targets and says when they are polled
  collector   polls
  processors  evaluates rules and writes to stores that are elsewhere
  alerting    tells people
  api         console, API and the embedded store of series`,
		Example: "  kemi check -c kemi.yaml && kemi run -c kemi.yaml\n  kemi run -c kemi.yaml --role scheduler,alerting,api\n  kemi run -c kemi.yaml --role collector --zone dc2 --listen 127.0.0.1:7071",
	}
	load := configFlag(cmd)
	names := cmd.Flags().StringSlice("role", nil, "roles of this process, of scheduler, collector, processors, alerting, api (default all)")
	zones := cmd.Flags().StringSlice("zone", nil, "zones whose targets this process polls (default all that are configured)")
	listen := cmd.Flags().String("listen", "", "address to listen on instead of the configured one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, problems := load()
		if len(problems) > 0 {
			return sayProblems(cmd.ErrOrStderr(), problems)
		}
		roles, err := app.ParseRoles(*names)
		if cmd.Flags().Changed("role") && len(*names) == 0 { // All roles is what leaving it out means; a variable may be empty.
			err = errors.New("--role is empty: name roles of this process, or leave it out for all of them")
		}
		if err != nil {
			return usageError{err}
		}
		if *listen != "" {
			if err := web.CheckListen(*listen, cfg.Auth, cfg.Insecure); err != nil {
				return usageError{err}
			}
			cfg.Listen = *listen
		}
		log := logger(cmd.ErrOrStderr(), cfg.Log)
		a, err := app.New(cfg, app.Options{Version: version, Log: log, Roles: roles, Zones: *zones})
		var wrong conf.Problems
		if errors.As(err, &wrong) {
			return sayProblems(cmd.ErrOrStderr(), wrong)
		} else if err != nil {
			return err
		}
		var g run.Group
		g.Add("run", a.Run)
		g.Add("announce", func(ctx context.Context) error { return announce(ctx, a, log) })
		g.Add("memory", func(ctx context.Context) error {
			frugal(ctx, func() bool {
				ok, _ := a.Ready()
				return ok && a.Knows()
			})
			return nil
		})
		return g.Run(cmd.Context())
	}
	return cmd
}

// announce says where Kemi is, then reloads on SIGHUP until ctx ends.
func announce(ctx context.Context, a *app.App, log *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	addr, err := a.Address(ctx)
	if err != nil {
		return nil // Ended before it listened; the other part says why.
	}
	log.Info("kemi runs", "version", version, "console", a.URL(addr), "prometheus_api", a.URL(addr)+"/api/v1")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			if err := a.Reload(); err != nil {
				log.Error("reload: what has a mistake stays as it was", "err", err)
			} else {
				log.Info("rules, tokens and certificate were read again")
			}
		}
	}
}

// sayProblems writes every mistake on a line of its own.
func sayProblems(w io.Writer, problems conf.Problems) error {
	fmt.Fprintln(w, problems.Err())
	return errWrong
}

func newCheck() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "check", Short: "Validate configuration, targets and rules", Args: cobra.NoArgs,
		Long: `Reads the configuration and everything it names (targets, profiles, rules) without starting anything, and prints
every mistake as file:line:column: what is wrong: what to do. Exit code 0 when there is none, 1 when there are.

Whoever could not be reached is a mistake: a way without the address it needs, a schedule or an escalation that has nobody
and will have nobody. What is noted is no mistake: time of the next year in which nobody is called, with its beginning, and what
does something else than one might think, such as group_by of a route.`,
		Example: "  kemi check -c deploy/example/kemi.yaml\n  kemi check -o json | jq -r '.problems[].file'",
	}
	load := configFlag(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, problems := load()
		var found app.Checked
		if cfg != nil {
			found = app.Check(cmd.Context(), cfg, time.Now())
		}
		problems, notes := append(problems, found.Problems...).Sorted(), found.Notes.Sorted()
		out := cmd.OutOrStdout()
		if output == "json" {
			if err := printJSON(out, map[string]any{"problems": problems, "notes": notes, "targets": found.Targets, "rules": found.Rules}); err != nil {
				return err
			}
		} else {
			for _, p := range problems {
				fmt.Fprintln(out, p)
			}
			for _, n := range notes {
				fmt.Fprintln(out, "note:", n)
			}
			if len(problems) == 0 {
				fmt.Fprintf(out, "ok: %d targets, %d rules\n", found.Targets, found.Rules)
			}
		}
		if len(problems) > 0 {
			return errWrong
		}
		return nil
	}
	return cmd
}
