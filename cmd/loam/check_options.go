package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/loam-storage/loam/driver/volume"
)

func checkOptionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check-options [file]",
		Short: "Name the PersistentVolumes and StorageClasses whose options this loam refuses",
		Long: `Name the PersistentVolumes and StorageClasses whose mount options or parameters this loam refuses. Run the new
loam before an upgrade: a pod cannot start with a PersistentVolume that is named. It reads what kubectl prints,
as JSON or YAML, from a file or its standard input, and asks no cluster:

    kubectl get persistentvolumes,storageclasses -o json | loam check-options

It ends with 0 if nothing is refused. Values of options are not shown.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := input(c.InOrStdin(), args)
			if err != nil {
				return err
			}
			refused, checked, err := checkObjects(text)
			if err != nil {
				return err
			}
			if len(refused) == 0 {
				_, err := fmt.Fprintf(c.OutOrStdout(), "%d objects of %s, and nothing in them is refused\n", checked, volume.DriverName)
				return err
			}
			table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, err = fmt.Fprintln(table, strings.Join(append([]string{"KIND\tNAME\tREFUSED"}, refused...), "\n"))
			return errors.Join(err, table.Flush(), fmt.Errorf("%d of %d objects of %s would be refused", len(refused), checked, volume.DriverName))
		},
	}
}

func input(stdin io.Reader, args []string) ([]byte, error) {
	if len(args) == 0 || args[0] == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(args[0])
}

// object is what is read of a list, a PersistentVolume or a StorageClass.
type object struct {
	Kind     string            `json:"kind"`
	Items    []json.RawMessage `json:"items"`
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		MountOptions []string `json:"mountOptions"`
		CSI          struct {
			Driver string `json:"driver"`
			FSType string `json:"fsType"`
		} `json:"csi"`
		VolumeMode string `json:"volumeMode"`
	} `json:"spec"`

	Provisioner  string            `json:"provisioner"`
	MountOptions []string          `json:"mountOptions"`
	Parameters   map[string]string `json:"parameters"`
}

// checkObjects returns a line for each object of loam with something that is refused, and how many there are
// of loam. What is neither a list nor of the two kinds is an error: so is nothing at all.
func checkObjects(text []byte) (refused []string, checked int, err error) {
	var o object
	if err := yaml.Unmarshal(text, &o); err != nil {
		return nil, 0, volume.Errorf(volume.Invalid, "this is not what kubectl get -o json prints: %w", err)
	}
	switch {
	case strings.HasSuffix(o.Kind, "List"):
		for _, item := range o.Items {
			more, n, err := checkObjects(item)
			if err != nil {
				return nil, 0, err
			}
			refused, checked = append(refused, more...), checked+n
		}
		return refused, checked, nil
	case o.Kind == "PersistentVolume" && o.Spec.CSI.Driver == volume.DriverName:
		err = checkPersistentVolume(o)
	case o.Kind == "StorageClass" && o.Provisioner == volume.DriverName:
		err = checkStorageClass(o)
	case o.Kind == "PersistentVolume", o.Kind == "StorageClass": // of another driver
		return nil, 0, nil
	default:
		return nil, 0, volume.Errorf(volume.Invalid, "this is %q, and neither a PersistentVolume, nor a StorageClass, nor a list of them", o.Kind)
	}
	if err != nil {
		refused = append(refused, columns(o.Kind, o.Metadata.Name, err))
	}
	return refused, 1, nil
}

// checkPersistentVolume checks as NodeStageVolume does. Where the type of the file system is not given, the
// volume may have any: that is seen when it is staged.
func checkPersistentVolume(o object) error {
	if o.Spec.VolumeMode == "Block" {
		return nil // the kubelet sends none
	}
	t, err := volume.ParseFSType(o.Spec.CSI.FSType)
	if err != nil {
		return err
	}
	return volume.CheckMountOptions(o.Spec.MountOptions, t)
}

// checkStorageClass checks as CreateVolume does, as far as that depends on no pool.
func checkStorageClass(o object) error {
	t, err := volume.ParseFSType(volume.FSTypeOf(o.Parameters))
	if err != nil {
		return err
	}
	p, _, err := volume.ParseParameters(volume.OwnParameters(o.Parameters))
	if err != nil {
		return err
	}
	if t == "" && len(o.MountOptions)+len(p.MkfsOptions) > 0 {
		t = volume.DefaultFSType
	}
	if err := volume.CheckMountOptions(o.MountOptions, t); err != nil {
		return err
	}
	return p.CheckMkfs(t)
}
