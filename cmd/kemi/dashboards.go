package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/cmd/kemi/app"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/dashboards"
	"kemi.dev/kemi/internal/conf"
)

func newDashboards() *cobra.Command {
	parent := &cobra.Command{
		Use: "dashboards", Short: "Grafana dashboards, generated from the profiles that decide what is collected",
		Long: `Brings dashboards and a data source for Kemi into Grafana: over its HTTP API (push) or as files for its
provisioning (write). The same profiles make the same dashboards; a second push changes nothing.`,
		Args: noSubcommand, RunE: help,
	}
	parent.AddCommand(newDashboardsPush(), newDashboardsWrite())
	return parent
}

// generate makes the dashboards of a configuration.
func generate(cmd *cobra.Command, load func() (*config.Config, conf.Problems)) (*config.Config, []dashboards.Dashboard, error) {
	cfg, problems := load()
	if len(problems) > 0 {
		return nil, nil, sayProblems(cmd.ErrOrStderr(), problems)
	}
	_, room, problems := app.Rooms(cfg)
	if len(problems) > 0 {
		return nil, nil, sayProblems(cmd.ErrOrStderr(), problems)
	}
	all, err := dashboards.Generate(room.Profiles())
	return cfg, all, err
}

func newDashboardsPush() *cobra.Command {
	var output string
	var opts dashboards.PushOptions
	cmd := &cobra.Command{
		Use: "push", Short: "Push them to the Grafana of the configuration", Args: cobra.NoArgs,
		Long: `Pushes folder, data source and dashboards to the Grafana that the configuration names under grafana:. A dashboard that a
person changed since is kept, unless --overwrite says otherwise.`,
		Example: "  kemi dashboards push -c kemi.yaml\n  kemi dashboards push --overwrite -o json",
	}
	load := configFlag(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&opts.Overwrite, "overwrite", false, "replace also what a person changed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, all, err := generate(cmd, load)
		if err != nil {
			return err
		}
		if cfg.Grafana == nil {
			return errors.New(`the configuration names no Grafana: add grafana: {url: "http://127.0.0.1:3000", token_file: grafana.token}`)
		}
		results, err := dashboards.Push(cmd.Context(), *cfg.Grafana, all, opts)
		if output == "json" {
			if jerr := printJSON(cmd.OutOrStdout(), results); jerr != nil {
				return jerr
			}
			return err
		}
		rows := make([][]string, len(results))
		for i, r := range results {
			rows[i] = []string{r.Kind, r.UID, string(r.Action), r.Title, r.URL + r.Reason}
		}
		if terr := printTable(cmd.OutOrStdout(), titles([]string{"kind", "uid", "action", "title", "where"}), rows); terr != nil {
			return terr
		}
		return err
	}
	return cmd
}

func newDashboardsWrite() *cobra.Command {
	cmd := &cobra.Command{
		Use: "write DIR", Short: "Write them as files for Grafana's provisioning", Args: cobra.ExactArgs(1),
		Example: `  kemi dashboards write /etc/grafana/provisioning
  kemi dashboards write grafana/provisioning --mount /etc/grafana/provisioning --kemi-url http://kemi:7070`,
	}
	load := configFlag(cmd)
	var opts dashboards.WriteOptions
	cmd.Flags().StringVar(&opts.KemiURL, "kemi-url", "", "how Grafana reaches Kemi; without it what grafana: says, or http://127.0.0.1:7070")
	cmd.Flags().StringVar(&opts.Mount, "mount", "", "the path at which Grafana sees DIR, when that is another (a container)")
	cmd.Flags().StringVar(&opts.TokenFile, "kemi-token-file", "", "path, as Grafana sees it, of a file with a token for Kemi")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, all, err := generate(cmd, load)
		if err != nil {
			return err
		}
		if cfg.Grafana != nil {
			opts.Folder = cfg.Grafana.Folder
			if opts.KemiURL == "" {
				opts.KemiURL = cfg.Grafana.KemiURL
			}
		}
		changed, err := dashboards.Write(args[0], all, opts)
		for _, path := range changed {
			fmt.Fprintln(cmd.OutOrStdout(), path)
		}
		return err
	}
	return cmd
}
