# A node with a volume and a network interface that outlive it: `terraform apply -replace aws_instance.node` makes a new
# node, and volinit there takes both over from the old one, which is gone by then.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "image" {
  description = "An AMI with volinit in it"
  type        = string
}

variable "instance_type" {
  type    = string
  default = "m7i.large"
}

variable "subnet" {
  type = string
}

variable "profile" {
  description = "An instance profile with find.json and attach.json of packaging/iam"
  type        = string
}

variable "size" {
  description = "Of the volume in GiB; only ever larger"
  type        = number
  default     = 100
}

variable "snapshot" {
  description = "That the volume is made from, or none: then it is blank"
  type        = string
  default     = null
}

data "aws_subnet" "of_node" {
  id = var.subnet
}

resource "aws_ebs_volume" "postgres" {
  availability_zone = data.aws_subnet.of_node.availability_zone
  size              = var.size
  snapshot_id       = var.snapshot
  type              = "gp3"
  encrypted         = true
  final_snapshot    = true
  # packaging/iam/attach.json allows what has this tag, and nothing else.
  tags = { volinit = "prod", Name = "postgres" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_network_interface" "postgres" {
  subnet_id = var.subnet
  tags      = { volinit = "prod", Name = "postgres" }
}

# No aws_volume_attachment, and no network_interface block: volinit attaches both, before the service starts.
resource "aws_instance" "node" {
  ami                         = var.image
  instance_type               = var.instance_type
  subnet_id                   = var.subnet
  iam_instance_profile        = var.profile
  user_data_replace_on_change = true
  tags                        = { volinit = "prod", Name = "postgres" }

  user_data = <<-END
    #cloud-config
    write_files:
      - path: /etc/volinit/volinit.yaml
        content: |
          volumes:
            postgres:
              source: { ebs: ${aws_ebs_volume.postgres.id}, attach: true }
              filesystem: { type: xfs }
              mount: { at: /data/postgres, owner: "999:999", mode: "0700" }
          interfaces:
            eth1: { eni: ${aws_network_interface.postgres.id}, device-index: 1 }
    runcmd:
      - [volinit, up]
  END
}
