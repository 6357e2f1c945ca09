FROM continuumio/miniconda3
SHELL ["/bin/bash", "--login", "-c"]
RUN conda create -n env python=3.9
RUN echo "source activate env" > ~/.bashrc
ENV PATH /opt/conda/envs/env/bin:$PATH
CMD python app.py
