package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/loam-storage/loam/controller/fleet/kubernetes"
	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/volume"
)

func orphansCommand() *cobra.Command {
	var endpoint string
	c := &cobra.Command{
		Use:   "orphans",
		Short: "Show volumes that no PersistentVolume of the cluster names",
		Long: `Show volumes that are on a node that is connected, and that no PersistentVolume of the cluster names. It
runs in the pod of a controller. Nothing removes such a volume by itself: it may be all that is left of
somebody's data. Volumes of pods (inline ephemeral ones) have no PersistentVolume and are not shown. A
volume that was made a moment ago has none yet: look again before you act on it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := driver.SocketPath(endpointOf(endpoint, defaultEndpoint))
			if err != nil {
				return err
			}
			api, err := kubernetes.InCluster()
			if err != nil {
				return err
			}
			found, err := orphans(c.Context(), path, kubernetes.NewCluster(api, "", "").VolumeHandles)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			lines := []string{"HANDLE\tSIZE"}
			for _, v := range found {
				lines = append(lines, columns(v.GetVolumeId(), volume.Size(v.GetCapacityBytes())))
			}
			_, err = fmt.Fprintln(table, strings.Join(lines, "\n"))
			return errors.Join(err, table.Flush())
		},
	}
	c.Flags().StringVar(&endpoint, "endpoint", "", "socket of the controller (default: $CSI_ENDPOINT, else "+defaultEndpoint+")")
	return c
}

// orphans returns the volumes of the driver on a socket whose handles are not among those known. The volumes
// are listed first: of those that are made in between most are then known.
func orphans(ctx context.Context, socket string, known func(context.Context) (map[string]bool, error)) ([]*csi.Volume, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing was written
	var all []*csi.Volume
	for token := ""; ; {
		page, err := csi.NewControllerClient(conn).ListVolumes(ctx, &csi.ListVolumesRequest{StartingToken: token})
		if err != nil {
			return nil, err
		}
		for _, e := range page.GetEntries() {
			all = append(all, e.GetVolume())
		}
		if token = page.GetNextToken(); token == "" {
			break
		}
	}
	handles, err := known(ctx)
	if err != nil {
		return nil, err
	}
	var found []*csi.Volume
	for _, v := range all {
		if !handles[v.GetVolumeId()] && v.GetVolumeContext()[volume.ContextEphemeral] == "" {
			found = append(found, v)
		}
	}
	return found, nil
}
