package metadata

// ReadDisk reads the volume group that one disk describes, whatever other disks the group has. A disk of it may have no
// metadata, or older ones: that is an error, or an older group.
func ReadDisk(d Disk) (*VolumeGroup, error) {
	areas, _, _, err := readDisk(d)
	if err != nil {
		return nil, err
	}
	return newest(areas)
}
