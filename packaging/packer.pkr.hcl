# An AMI of Debian 12 with volinit and a config baked in:
#
#   packer init packaging/packer.pkr.hcl
#   packer build -var package=target/packages/volinit_0.1.0-1_amd64.deb -var config=volinit.yaml packaging/packer.pkr.hcl

packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.0"
    }
  }
}

variable "package" {
  type        = string
  description = "The .deb that `make packages` made."
}

variable "config" {
  type        = string
  description = "What becomes /etc/volinit/volinit.yaml."
}

variable "region" {
  type    = string
  default = "eu-central-1"
}

source "amazon-ebs" "debian" {
  region        = var.region
  instance_type = "t3.small"
  ssh_username  = "admin"
  ami_name      = "volinit-${formatdate("YYYYMMDD-hhmmss", timestamp())}"

  # Debian's own account: https://wiki.debian.org/Cloud/AmazonEC2Image/Bookworm
  source_ami_filter {
    owners      = ["136693071363"]
    most_recent = true
    filters = {
      name                = "debian-12-amd64-*"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
  }
}

build {
  sources = ["source.amazon-ebs.debian"]

  provisioner "file" {
    source      = var.package
    destination = "/tmp/volinit.deb"
  }

  provisioner "file" {
    source      = var.config
    destination = "/tmp/volinit.yaml"
  }

  provisioner "file" {
    source      = "${path.root}/bake.sh"
    destination = "/tmp/bake.sh"
  }

  provisioner "shell" {
    inline = [
      "sudo bash /tmp/bake.sh / /tmp/volinit.yaml /tmp/volinit.deb",
      "rm /tmp/bake.sh /tmp/volinit.yaml /tmp/volinit.deb",
    ]
  }
}
